// A picture from a binary PPM (P6), for the examples in C++: they need no library for pictures.

#pragma once

#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

struct Picture {
    std::size_t width = 0, height = 0;
    std::vector<std::uint8_t> rgb;
};

inline Picture read_ppm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    std::size_t largest = 0;
    Picture picture;
    file >> kind >> picture.width >> picture.height >> largest;
    if (!file || kind != "P6" || largest != 255 || picture.width > 65535 || picture.height > 65535) {
        throw std::runtime_error(path + " is no binary PPM of 8 bits");
    }
    file.get();  // the one blank after the header
    picture.rgb.resize(picture.width * picture.height * 3);
    file.read(reinterpret_cast<char*>(picture.rgb.data()), static_cast<std::streamsize>(picture.rgb.size()));
    if (!file) {
        throw std::runtime_error(path + " ends early");
    }
    return picture;
}
