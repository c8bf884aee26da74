// Keypoints from a file of `posetrain export --format onnx`, in C++ with OpenVINO's own API, which reads ONNX.
//
//   ov=$(python -c 'import openvino; print(openvino.__path__[0])')
//   g++ -std=c++17 -O2 -I $ov/include openvino_keypoints.cpp $ov/libs/libopenvino.so.* -Wl,-rpath,$ov/libs -o keypoints
//   ./keypoints small.onnx crop.ppm
//
// crop.ppm is a binary PPM (P6) of the size that the network takes: a crop, as posetrain or the example in Python cuts
// it. One line a keypoint: its number, x, y in pixels of the crop, score. Then the time of a call, decoding included.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <stdexcept>

#include <openvino/openvino.hpp>

#include "ppm.hpp"

int main(int count, char** arguments) {
    if (count != 3) {
        std::fprintf(stderr, "usage: %s MODEL.onnx CROP.ppm\n", arguments[0]);
        return 2;
    }
    try {
        Picture picture = read_ppm(arguments[2]);
        ov::Core core;
        // Float32 all through, where the processor would offer bfloat16 by itself.
        ov::CompiledModel model = core.compile_model(
            arguments[1], "CPU", ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
            ov::hint::inference_precision(ov::element::f32));
        const ov::PartialShape wanted = model.input("images").get_partial_shape();
        if (wanted[1] != static_cast<std::int64_t>(picture.height) ||
            wanted[2] != static_cast<std::int64_t>(picture.width)) {
            throw std::runtime_error("the network takes crops of " + wanted.to_string());
        }
        ov::InferRequest request = model.create_infer_request();
        request.set_tensor(
            "images", ov::Tensor(ov::element::u8, {1, picture.height, picture.width, 3}, picture.rgb.data()));
        request.infer();

        const ov::Tensor keypoints = request.get_tensor("keypoints"), scores = request.get_tensor("scores");
        const float* xy = keypoints.data<float>();
        const float* score = scores.data<float>();
        for (std::size_t number = 0; number < scores.get_size(); ++number) {
            std::printf("%zu %.4f %.4f %.5f\n", number, xy[2 * number], xy[2 * number + 1], score[number]);
        }

        const int calls = 50;
        const auto began = std::chrono::steady_clock::now();
        for (int call = 0; call < calls; ++call) {
            request.infer();
        }
        const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - began;
        std::fprintf(stderr, "%.2f ms a person\n", taken.count() / calls);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
}
