// As much of ONNX Runtime's C++ interface as examples/onnxruntime_keypoints.cpp uses, so that a test can compile it
// against the library of the Python package, which comes without headers. Where the real ones are installed the test
// takes those.
//
// The C interface is a table of functions whose order never changes (docs of OrtApi: functions are only added at the
// end). Places are offsetof(OrtApi, …) / sizeof(void*), taken from onnxruntime_c_api.h of version 1.21.

#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

extern "C" {
struct OrtTable {
    void* at[1];
};
struct OrtEntrance {
    const OrtTable* (*table_of_version)(std::uint32_t);
    const char* (*version)();
};
const OrtEntrance* OrtGetApiBase();
}

enum OrtLoggingLevel { ORT_LOGGING_LEVEL_FATAL = 4 };
enum OrtAllocatorType { OrtArenaAllocator = 1 };
enum OrtMemType { OrtMemTypeDefault = 0 };

namespace Ort {

struct Exception : std::runtime_error {
    using std::runtime_error::runtime_error;
};

namespace stand_in {

enum Place : std::size_t {
    get_error_message = 2, create_env = 3, create_session = 7, run = 9, create_session_options = 10,
    get_input_type_info = 33, create_tensor_with_data = 49, get_tensor_data = 51, cast_to_tensor_info = 55,
    get_dimensions_count = 61, get_dimensions = 62, get_element_count = 64, get_tensor_type_and_shape = 65,
    create_cpu_memory_info = 69, release_env = 92, release_status = 93, release_memory_info = 94, release_session = 95,
    release_value = 96, release_type_info = 98, release_tensor_info = 99, release_session_options = 100,
};

template <class Result, class... Arguments>
Result at(Place place, Arguments... arguments) {
    static const OrtTable* const table = OrtGetApiBase()->table_of_version(18);
    return reinterpret_cast<Result (*)(Arguments...)>(table->at[place])(arguments...);
}

// Most functions return a status, which is null where all is well.
template <class... Arguments>
void call(Place place, Arguments... arguments) {
    if (void* status = at<void*>(place, arguments...)) {
        const std::string text = at<const char*>(get_error_message, status);
        at<void>(release_status, status);
        throw Exception(text);
    }
}

template <Place release>
struct Owner {
    Owner() = default;
    Owner(const Owner&) = delete;
    Owner(Owner&& other) noexcept : pointer(other.pointer) { other.pointer = nullptr; }
    ~Owner() {
        if (pointer) at<void>(release, pointer);
    }
    void* pointer = nullptr;
};

}  // namespace stand_in

struct TensorInfo {
    const void* pointer;

    std::size_t GetElementCount() const {
        std::size_t count = 0;
        stand_in::call(stand_in::get_element_count, pointer, &count);
        return count;
    }
    std::vector<std::int64_t> GetShape() const {
        std::size_t axes = 0;
        stand_in::call(stand_in::get_dimensions_count, pointer, &axes);
        std::vector<std::int64_t> shape(axes);
        stand_in::call(stand_in::get_dimensions, pointer, shape.data(), axes);
        return shape;
    }
};

struct OwnTensorInfo : stand_in::Owner<stand_in::release_tensor_info> {
    std::size_t GetElementCount() const { return TensorInfo{pointer}.GetElementCount(); }
};

struct TypeInfo : stand_in::Owner<stand_in::release_type_info> {
    TensorInfo GetTensorTypeAndShapeInfo() const {
        const void* info = nullptr;
        stand_in::call(stand_in::cast_to_tensor_info, static_cast<const void*>(pointer), &info);
        return {info};
    }
};

struct Env : stand_in::Owner<stand_in::release_env> {
    Env(OrtLoggingLevel level, const char* name) { stand_in::call(stand_in::create_env, int(level), name, &pointer); }
};

struct SessionOptions : stand_in::Owner<stand_in::release_session_options> {
    SessionOptions() { stand_in::call(stand_in::create_session_options, &pointer); }
};

struct RunOptions {
    explicit RunOptions(std::nullptr_t) {}
};

struct MemoryInfo : stand_in::Owner<stand_in::release_memory_info> {
    static MemoryInfo CreateCpu(OrtAllocatorType allocator, OrtMemType memory) {
        MemoryInfo made;
        stand_in::call(stand_in::create_cpu_memory_info, int(allocator), int(memory), &made.pointer);
        return made;
    }
};

struct Value : stand_in::Owner<stand_in::release_value> {
    template <class Number>
    static Value CreateTensor(
        const MemoryInfo& memory, Number* data, std::size_t count, const std::int64_t* shape, std::size_t axes) {
        static_assert(sizeof(Number) == 1, "bytes alone are used");
        const int unsigned_byte = 2;
        Value made;
        stand_in::call(
            stand_in::create_tensor_with_data, static_cast<const void*>(memory.pointer), static_cast<void*>(data), count,
            shape, axes, unsigned_byte, &made.pointer);
        return made;
    }
    template <class Number>
    const Number* GetTensorData() const {
        void* data = nullptr;
        stand_in::call(stand_in::get_tensor_data, pointer, &data);
        return static_cast<const Number*>(data);
    }
    OwnTensorInfo GetTensorTypeAndShapeInfo() const {
        OwnTensorInfo info;
        stand_in::call(stand_in::get_tensor_type_and_shape, static_cast<const void*>(pointer), &info.pointer);
        return info;
    }
};

struct Session : stand_in::Owner<stand_in::release_session> {
    Session(const Env& env, const char* path, const SessionOptions& options) {
        stand_in::call(
            stand_in::create_session, static_cast<const void*>(env.pointer), path,
            static_cast<const void*>(options.pointer), &pointer);
    }
    TypeInfo GetInputTypeInfo(std::size_t number) const {
        TypeInfo info;
        stand_in::call(stand_in::get_input_type_info, static_cast<const void*>(pointer), number, &info.pointer);
        return info;
    }
    std::vector<Value> Run(
        const RunOptions&, const char* const* names, const Value* values, std::size_t count, const char* const* wanted,
        std::size_t wanted_count) {
        std::vector<const void*> given(count);
        for (std::size_t number = 0; number < count; ++number) given[number] = values[number].pointer;
        std::vector<void*> made(wanted_count, nullptr);
        stand_in::call(
            stand_in::run, pointer, static_cast<const void*>(nullptr), names,
            static_cast<const void* const*>(given.data()), count, wanted, wanted_count, made.data());
        std::vector<Value> found(wanted_count);
        for (std::size_t number = 0; number < wanted_count; ++number) found[number].pointer = made[number];
        return found;
    }
};

}  // namespace Ort
