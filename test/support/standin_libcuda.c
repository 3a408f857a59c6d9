// Copyright 2026 uhr_seg_ros contributors
//
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
//     http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.

/* A stand-in for libcuda.so.1 on host memory: the part of the driver that `core.gpu` and
 * `backends.tensorrt.cuda` use, the latter through the real pycuda. Work is done at once, or recorded while
 * a stream is captured; kernels are only written down. Functions named standin_* are for tests. */

#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ERRORS \
    X(INVALID_VALUE, 1, "invalid argument") \
    X(OUT_OF_MEMORY, 2, "out of memory") \
    X(NOT_INITIALIZED, 3, "initialization error") \
    X(STUB_LIBRARY, 34, "CUDA driver is a stub library") \
    X(DEVICE_UNAVAILABLE, 46, "CUDA-capable device(s) is/are busy or unavailable") \
    X(NO_DEVICE, 100, "no CUDA-capable device is detected") \
    X(INVALID_DEVICE, 101, "invalid device ordinal") \
    X(INVALID_CONTEXT, 201, "invalid device context") \
    X(NO_BINARY_FOR_GPU, 209, "no kernel image is available for execution on the device") \
    X(ECC_UNCORRECTABLE, 214, "uncorrectable ECC error encountered") \
    X(INVALID_HANDLE, 400, "invalid resource handle") \
    X(NOT_FOUND, 500, "named symbol not found") \
    X(ILLEGAL_ADDRESS, 700, "an illegal memory access was encountered") \
    X(LAUNCH_OUT_OF_RESOURCES, 701, "too many resources requested for launch") \
    X(LAUNCH_TIMEOUT, 702, "the launch timed out and was terminated") \
    X(CONTEXT_IS_DESTROYED, 709, "context is destroyed") \
    X(MISALIGNED_ADDRESS, 716, "misaligned address") \
    X(LAUNCH_FAILED, 719, "unspecified launch failure") \
    X(SYSTEM_DRIVER_MISMATCH, 803, "system has unsupported display driver / cuda driver") \
    X(STREAM_CAPTURE_UNSUPPORTED, 900, "operation not permitted when stream is capturing") \
    X(STREAM_CAPTURE_INVALIDATED, 901, "operation failed due to a previous error during capture") \
    X(STREAM_CAPTURE_UNMATCHED, 903, "the capture was not initiated in this stream") \
    X(STREAM_CAPTURE_UNJOINED, 904, "capturing stream has unjoined work") \
    X(STREAM_CAPTURE_ISOLATION, 905, "dependency created on uncaptured work in another stream") \
    X(CAPTURED_EVENT, 907, "operation not permitted on an event last recorded in a capture") \
    X(UNKNOWN, 999, "unknown error")
#define X(name, code, text) name = code,
enum { ERRORS };
#undef X
#define X(name, code, text) {code, "CUDA_ERROR_" #name, text},
static const struct error { int code; const char *name, *text; } errors[] = { ERRORS };
#undef X

/* What is counted until it is given back. */
enum { MEMORY, PINNED, STREAM, EVENT, MODULE, GRAPH, EXECUTABLE, CONTEXT, KINDS };

struct launch { char name[64]; unsigned grid[3], block[3], bytes; unsigned char data[256]; };
struct op { enum { COPY, FILL, KERNEL } kind; void *to; const void *from; size_t size;
            unsigned char value; struct launch launch; };
struct graph { int count; struct op ops[64]; };
/* `capture` numbers the capture that a stream is in or that an event was recorded in, 0: none;
 * `steps` counts what a captured stream was given, `joined` how much of it is waited for. */
struct stream { int capture, steps, joined; struct stream *next; };
struct event { int recorded, capture, place; struct stream *stream; struct timespec time; };
struct module { char *image; };
struct function { char name[64]; };

/* What tests set and look at. */
static int device_count = 1, capability[2] = {8, 7}, integrated, fail_code, live[KINDS];
static char fail_function[64];
static struct launch launches[64];
static int launch_count;

static const size_t memory_total = 64 << 20;
static size_t memory_used;
static int initialized;
static __thread int depth; /* of the stack of contexts, all of them the primary one */
static struct stream *streams;
static struct { int id, active, broken; struct stream *origin; struct graph *graph; } now;

/* Fails the function where a test wants it; `*` stands for all that can fail. */
static int injected(const char *function)
{
    int here = !strcmp(fail_function, function) || !strcmp(fail_function, "*");
    return here ? fail_code : 0;
}
#define ENTER do { int failed = injected(__func__); if (failed) return failed; \
                   if (!initialized) return NOT_INITIALIZED; } while (0)
#define NEEDS_CONTEXT do { ENTER; if (!depth) return INVALID_CONTEXT; } while (0)
/* What cannot be replayed breaks a capture. */
#define BREAK(code) do { now.broken = 1; return code; } while (0)
#define UNSAFE do { NEEDS_CONTEXT; if (now.active) BREAK(STREAM_CAPTURE_UNSUPPORTED); } while (0)
#define GIVE_BACK(kind, thing) do { free(thing); live[kind]--; return 0; } while (0)

void standin_fail(const char *function, int code)
{
    snprintf(fail_function, sizeof fail_function, "%s", function);
    fail_code = code;
}
void standin_devices(int count, int major, int minor)
{
    device_count = count, capability[0] = major, capability[1] = minor;
}
void standin_integrated(int is_integrated) { integrated = is_integrated; }
void standin_forget(void) { memset(live, 0, sizeof live); launch_count = 0; memory_used = 0; }
int standin_live(int kind) { return kind < KINDS ? live[kind] : depth; }
int standin_launch_count(void) { return launch_count; }
const struct launch *standin_launch(int index) { return &launches[index]; }

/* The driver itself, devices and contexts. */
int cuInit(unsigned flags) { return initialized = 1, injected(__func__); }
int cuDriverGetVersion(int *version) { return *version = 12060, injected(__func__); }
static const struct error *find_error(int code)
{
    static const struct error none;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) return &errors[i];
    return &none;
}
int cuGetErrorName(int code, const char **name)
{
    return (*name = find_error(code)->name) ? 0 : INVALID_VALUE;
}
int cuGetErrorString(int code, const char **text)
{
    return (*text = find_error(code)->text) ? 0 : INVALID_VALUE;
}
int cuDeviceGetCount(int *count) { ENTER; return *count = device_count, 0; }
int cuDeviceGet(int *device, int ordinal)
{
    ENTER;
    *device = ordinal;
    return ordinal < 0 || ordinal >= device_count ? INVALID_DEVICE : 0;
}
int cuDeviceGetName(char *name, int size, int device)
{
    ENTER;
    return snprintf(name, size, "Stand-in %d", device) < 0;
}
int cuDeviceTotalMem_v2(size_t *size, int device) { ENTER; return *size = memory_total, 0; }
int cuDeviceComputeCapability(int *major, int *minor, int device)
{
    ENTER;
    return *major = capability[0], *minor = capability[1], 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    ENTER;
    if (attribute == 18) return *value = integrated, 0;
    if (attribute == 16) return *value = 16, 0; /* multiprocessors */
    if (attribute != 75 && attribute != 76) return INVALID_VALUE;
    return *value = capability[attribute - 75], 0;
}
int cuDevicePrimaryCtxRetain(void **context, int device)
{
    ENTER;
    return *context = live, live[CONTEXT]++, 0;
}
int cuDevicePrimaryCtxRelease_v2(int device)
{
    return live[CONTEXT]-- ? injected(__func__) : INVALID_CONTEXT;
}
int cuCtxPushCurrent_v2(void *context) { ENTER; return depth++, 0; }
int cuCtxPopCurrent_v2(void **context)
{
    if (!depth) return INVALID_CONTEXT;
    return *context = live, depth--, injected(__func__);
}
int cuCtxSynchronize(void) { UNSAFE; return 0; }

/* Memory; the size stands in front of it. */
static void *take(size_t size, size_t alignment, int kind)
{
    size_t whole = (size + alignment - 1) / alignment * alignment;
    char *start = aligned_alloc(alignment, alignment + whole);
    *(size_t *)start = size;
    live[kind]++;
    return memset(start + alignment, 0xFF, whole);
}
int cuMemGetInfo_v2(size_t *available, size_t *total)
{
    NEEDS_CONTEXT;
    return *available = memory_total - memory_used, *total = memory_total, 0;
}
int cuMemAlloc_v2(uint64_t *address, size_t size)
{
    UNSAFE;
    if (!size) return INVALID_VALUE;
    if (size > memory_total - memory_used) return OUT_OF_MEMORY;
    return *address = (uint64_t)take(size, 512, MEMORY), memory_used += size, 0;
}
int cuMemFree_v2(uint64_t address)
{
    UNSAFE;
    memory_used -= *(size_t *)(address - 512);
    GIVE_BACK(MEMORY, (void *)(address - 512));
}
int cuMemHostAlloc(void **block, size_t size, unsigned flags)
{
    UNSAFE;
    return *block = take(size, 4096, PINNED), 0;
}
int cuMemHostGetDevicePointer_v2(uint64_t *address, void *block, unsigned flags)
{
    NEEDS_CONTEXT;
    return *address = (uint64_t)block, 0;
}
int cuMemFreeHost(void *block) { UNSAFE; GIVE_BACK(PINNED, (char *)block - 4096); }

/* Work on streams. */
static void perform(const struct op *op)
{
    if (op->kind == COPY) memcpy(op->to, op->from, op->size);
    if (op->kind == FILL) memset(op->to, op->value, op->size);
    if (op->kind == KERNEL) launches[launch_count++ % 64] = op->launch;
}
static int submit(struct stream *stream, struct op op)
{
    if (!stream || !stream->capture) return perform(&op), 0;
    if (now.broken) return STREAM_CAPTURE_INVALIDATED;
    return stream->steps++, now.graph->ops[now.graph->count++] = op, 0;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, struct stream *stream)
{
    NEEDS_CONTEXT;
    return submit(stream, (struct op){COPY, .to = (void *)to, .from = from, .size = size});
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, struct stream *stream)
{
    NEEDS_CONTEXT;
    return submit(stream, (struct op){COPY, .to = to, .from = (void *)from, .size = size});
}
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t size, struct stream *stream)
{
    NEEDS_CONTEXT;
    return submit(stream, (struct op){FILL, .to = (void *)to, .size = size, .value = value});
}
int cuStreamCreate(struct stream **stream, unsigned flags)
{
    NEEDS_CONTEXT;
    if (flags != 1) return INVALID_VALUE; /* only CU_STREAM_NON_BLOCKING is used */
    *stream = calloc(1, sizeof **stream);
    return (*stream)->next = streams, streams = *stream, live[STREAM]++, 0;
}
int cuStreamDestroy_v2(struct stream *stream)
{
    NEEDS_CONTEXT;
    struct stream **link = &streams;
    while (*link != stream) link = &(*link)->next;
    *link = stream->next;
    GIVE_BACK(STREAM, stream);
}
int cuStreamSynchronize(struct stream *stream)
{
    NEEDS_CONTEXT;
    if (stream->capture) BREAK(STREAM_CAPTURE_UNSUPPORTED);
    return 0;
}
int cuStreamWaitEvent(struct stream *stream, struct event *event, unsigned flags)
{
    NEEDS_CONTEXT;
    int captured = event->capture && now.active && event->capture == now.id;
    if (event->capture && !captured) return CAPTURED_EVENT;
    if (stream->capture && event->recorded && !captured) BREAK(STREAM_CAPTURE_ISOLATION);
    if (captured && stream->capture) event->stream->joined = event->place;
    else if (captured) stream->capture = now.id, stream->steps = 0, stream->joined = -1;
    return 0;
}

/* Events. */
int cuEventCreate(struct event **event, unsigned flags)
{
    NEEDS_CONTEXT;
    return *event = calloc(1, sizeof **event), live[EVENT]++, 0;
}
int cuEventDestroy_v2(struct event *event) { NEEDS_CONTEXT; GIVE_BACK(EVENT, event); }
int cuEventRecord(struct event *event, struct stream *stream)
{
    NEEDS_CONTEXT;
    *event = (struct event){1, stream->capture, stream->steps, stream, {0}};
    return clock_gettime(CLOCK_MONOTONIC, &event->time);
}
int cuEventSynchronize(struct event *event)
{
    NEEDS_CONTEXT;
    return event->capture ? CAPTURED_EVENT : 0;
}
int cuEventElapsedTime(float *ms, struct event *start, struct event *end)
{
    NEEDS_CONTEXT;
    if (!start->recorded || !end->recorded) return INVALID_HANDLE;
    const struct timespec *from = &start->time, *to = &end->time;
    return *ms = (to->tv_sec - from->tv_sec) * 1e3f + (to->tv_nsec - from->tv_nsec) * 1e-6f, 0;
}
int cuEventElapsedTime_v2(float *ms, struct event *start, struct event *end)
{
    return cuEventElapsedTime(ms, start, end);
}

/* Kernels: an image is text that begins with "standin" and names them. */
int cuModuleLoadDataEx(struct module **module, const char *image, unsigned count,
                       const int *options, void **values)
{
    UNSAFE;
    for (unsigned i = 0; i < count; i++) /* the sizes of both logs */
        if (options[i] == 4 || options[i] == 6) values[i] = 0;
    if (strncmp(image, "standin", 7)) return NO_BINARY_FOR_GPU;
    *module = malloc(sizeof **module);
    return (*module)->image = strdup(image), live[MODULE]++, 0;
}
int cuModuleUnload(struct module *module)
{
    UNSAFE;
    free(module->image);
    GIVE_BACK(MODULE, module);
}
int cuModuleGetFunction(struct function **function, struct module *module, const char *name)
{
    static struct function known[16];
    static int count;
    ENTER;
    if (!strstr(module->image, name)) return NOT_FOUND;
    *function = &known[count++ % 16];
    return snprintf((*function)->name, sizeof (*function)->name, "%s", name) < 0;
}
int cuLaunchKernel(struct function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                   struct stream *stream, void **params, void **extra)
{
    NEEDS_CONTEXT;
    size_t size = extra ? *(size_t *)extra[3] : 0; /* pointer, buffer, size, &size, end */
    if (!extra || params || shared || size > 256) return INVALID_VALUE;
    struct op op = {KERNEL, .launch = {.bytes = size,
        .grid = {grid_x, grid_y, grid_z}, .block = {block_x, block_y, block_z}}};
    memcpy(op.launch.name, function->name, sizeof op.launch.name);
    memcpy(op.launch.data, extra[1], size);
    return submit(stream, op);
}

/* Graphs. */
int cuStreamBeginCapture_v2(struct stream *stream, int mode)
{
    ENTER;
    if (now.active || mode != 1) return INVALID_VALUE; /* only thread-local is used */
    now.id++, now.active = 1, now.broken = 0, now.origin = stream, stream->capture = now.id;
    return now.graph = calloc(1, sizeof *now.graph), live[GRAPH]++, 0;
}
int cuGraphDestroy(struct graph *graph) { GIVE_BACK(GRAPH, graph); }
int cuStreamEndCapture(struct stream *stream, struct graph **graph)
{
    if (!now.active || stream != now.origin) return STREAM_CAPTURE_UNMATCHED;
    int code = now.broken ? STREAM_CAPTURE_INVALIDATED : injected(__func__);
    for (struct stream *each = streams; each; each = each->next) {
        int unjoined = each->capture && each != stream && each->joined != each->steps;
        if (unjoined && !code) code = STREAM_CAPTURE_UNJOINED;
        each->capture = 0;
    }
    now.active = 0;
    *graph = code ? NULL : now.graph;
    if (code) cuGraphDestroy(now.graph);
    return code;
}
int cuGraphInstantiateWithFlags(struct graph **executable, struct graph *graph, uint64_t flags)
{
    ENTER;
    *executable = memcpy(malloc(sizeof *graph), graph, sizeof *graph);
    return live[EXECUTABLE]++, 0;
}
int cuGraphLaunch(struct graph *executable, struct stream *stream)
{
    ENTER;
    for (int i = 0; i < executable->count; i++) perform(&executable->ops[i]);
    return 0;
}
int cuGraphExecDestroy(struct graph *executable) { ENTER; GIVE_BACK(EXECUTABLE, executable); }
