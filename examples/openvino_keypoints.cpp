// Keypoints from a file of `posetrain export --format onnx`, in C++ with OpenVINO's own API, which reads ONNX.
//
//   ov=$(python -c 'import openvino; print(openvino.__path__[0])')
//   g++ -std=c++17 -O2 -I $ov/include openvino_keypoints.cpp $ov/libs/libopenvino.so.* -Wl,-rpath,$ov/libs -o keypoints
//   ./keypoints small.onnx crop.ppm
//
// crop.ppm is a binary PPM (P6) of the size that the network takes: a crop, as posetrain or the example in Python cuts
// it. One line a keypoint: its number, x, y in pixels of the crop, score. Then the time of a call, decoding included.

#include <cstdint>
#include <stdexcept>

#include <openvino/openvino.hpp>

#include "example.hpp"

static void look(const char* file, Picture& picture) {
    ov::Core core;
    // Float32 all through, where the processor would offer bfloat16 by itself.
    ov::CompiledModel model = core.compile_model(
        file, "CPU", ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
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
    print_keypoints(keypoints.data<float>(), scores.data<float>(), scores.get_size());
    print_time([&] { request.infer(); });
}

int main(int count, char** arguments) { return run_example(count, arguments, look); }
