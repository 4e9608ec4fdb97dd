// Runs under an emulator, beside a test on another machine: loads the compiled library and calls its functions, with
// arguments that come through stdin and go back, changed, through stdout (task_image.py).
#include <dlfcn.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr int32_t kDot = 2;  // of `Int8Way`

// As emulated.py packs it; behind it come the pointers' places, and the bytes.
struct Call {
    char function[32];
    uint64_t arguments[2];  // places of structures
    uint64_t num_arguments;
    uint64_t num_pointers;
    uint64_t num_bytes;
};

struct alignas(64) Line {
    unsigned char bytes[64];
};

bool read_all(void* to, size_t count) {
    for (size_t done = 0; done < count;) {
        const ssize_t more = read(STDIN_FILENO, static_cast<char*>(to) + done, count - done);
        if (more <= 0) return false;
        done += more;
    }
    return true;
}

void write_all(const void* from, size_t count) {
    for (size_t done = 0; done < count;) {
        const ssize_t more = write(STDOUT_FILENO, static_cast<const char*>(from) + done, count - done);
        if (more <= 0) std::exit(1);
        done += more;
    }
}

template <typename Function>
Function found(void* library, const char* name) {
    void* function = library == nullptr ? nullptr : dlsym(library, name);
    if (function == nullptr) {
        std::fprintf(stderr, "%s\n", dlerror());
        std::exit(1);
    }
    return reinterpret_cast<Function>(function);
}

// Places within `image` become addresses, or the other way round.
void move_pointers(Line* image, const std::vector<uint64_t>& places, uint64_t by) {
    for (const uint64_t place : places) *reinterpret_cast<uint64_t*>(image->bytes + place) += by;
}

int32_t run(void* library, const Call& call, unsigned char* image) {
    unsigned char *first = image + call.arguments[0], *second = image + call.arguments[1];
    if (call.num_arguments == 1) return found<int32_t (*)(void*)>(library, call.function)(first);
    return found<int32_t (*)(void*, void*)>(library, call.function)(first, second);
}

}  // namespace

int main(int, char** arguments) {
    void* library = dlopen(arguments[1], RTLD_NOW);
    const uint64_t layout = found<uint64_t (*)()>(library, "adavae_layout")();
    const int32_t has_dot = found<int32_t (*)(int32_t)>(library, "adavae_has_int8_way")(kDot);
    write_all(&layout, sizeof layout);
    write_all(&has_dot, sizeof has_dot);
    for (Call call; read_all(&call, sizeof call);) {
        std::vector<uint64_t> places(call.num_pointers);
        std::vector<Line> image(call.num_bytes / sizeof(Line));
        const bool is_whole =
            read_all(places.data(), places.size() * sizeof places[0]) && read_all(image.data(), call.num_bytes);
        if (!is_whole) return 1;
        const auto start = reinterpret_cast<uint64_t>(image.data());
        move_pointers(image.data(), places, start);
        const int32_t outcome = run(library, call, image.data()->bytes);
        move_pointers(image.data(), places, -start);
        write_all(&outcome, sizeof outcome);
        write_all(image.data(), call.num_bytes);
    }
}
