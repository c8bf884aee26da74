// What the examples in C++ have in common: a picture from a binary PPM (P6), which needs no library for pictures; how
// keypoints and times are printed; what is said when something fails.

#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
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

// One line a keypoint: its number, x, y, score.
inline void print_keypoints(const float* xy, const float* score, std::size_t count) {
    for (std::size_t number = 0; number < count; ++number) {
        std::printf("%zu %.4f %.4f %.5f\n", number, xy[2 * number], xy[2 * number + 1], score[number]);
    }
}

// The mean time of a call, to stderr.
template <class Run>
void print_time(Run run) {
    const int calls = 50;
    const auto began = std::chrono::steady_clock::now();
    for (int call = 0; call < calls; ++call) {
        run();
    }
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - began;
    std::fprintf(stderr, "%.2f ms a person\n", taken.count() / calls);
}

// Calls look(model, picture) for the two arguments of the command; returns its exit status.
template <class Look>
int run_example(int count, char** arguments, Look look) {
    if (count != 3) {
        std::fprintf(stderr, "usage: %s MODEL.onnx CROP.ppm\n", arguments[0]);
        return 2;
    }
    try {
        Picture picture = read_ppm(arguments[2]);
        look(arguments[1], picture);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
}
