// Keypoints from a file of `posetrain export --format onnx`, in C++ with ONNX Runtime's own API.
//
//   g++ -std=c++17 -O2 -I ort/include onnxruntime_keypoints.cpp ort/lib/libonnxruntime.so -Wl,-rpath,ort/lib -o keypoints
//   ./keypoints small.onnx crop.ppm
//
// ort is an unpacked release of ONNX Runtime for C++ (github.com/microsoft/onnxruntime, "Releases").
//
// crop.ppm is a binary PPM (P6) of the size that the network takes: a crop, as posetrain or the example in Python cuts
// it. One line a keypoint: its number, x, y in pixels of the crop, score. Then the time of a call, decoding included.

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <onnxruntime_cxx_api.h>

#include "example.hpp"

static void look(const char* model, Picture& picture) {
    Ort::Env env(ORT_LOGGING_LEVEL_FATAL, "keypoints");
    Ort::Session session(env, model, Ort::SessionOptions{});

    // Bytes as they are: normalisation and decoding are in the graph. The first axis is any number of crops.
    const std::vector<std::int64_t> wanted = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
    const std::array<std::int64_t, 4> shape{
        1, static_cast<std::int64_t>(picture.height), static_cast<std::int64_t>(picture.width), 3};
    if (wanted.size() != shape.size()) {
        throw std::runtime_error("the network's input is not a batch of crops");
    }
    if (wanted[1] != shape[1] || wanted[2] != shape[2]) {
        throw std::runtime_error(
            "the network takes crops of " + std::to_string(wanted[2]) + " x " + std::to_string(wanted[1]));
    }
    const Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const Ort::Value images = Ort::Value::CreateTensor<std::uint8_t>(
        memory, picture.rgb.data(), picture.rgb.size(), shape.data(), shape.size());
    const char* const inputs[] = {"images"};
    const char* const outputs[] = {"keypoints", "scores"};
    const auto run = [&] { return session.Run(Ort::RunOptions{nullptr}, inputs, &images, 1, outputs, 2); };

    const std::vector<Ort::Value> found = run();
    print_keypoints(
        found[0].GetTensorData<float>(), found[1].GetTensorData<float>(),
        found[1].GetTensorTypeAndShapeInfo().GetElementCount());
    print_time(run);
}

int main(int count, char** arguments) { return run_example(count, arguments, look); }
