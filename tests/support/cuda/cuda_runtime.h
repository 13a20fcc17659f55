/* CUDA on the processor, for tests: enough of the language and of the runtime's API that the device's .cu files compile as C++ and run. A grid's blocks run
 * one after the other, and a block's threads as contexts that hand over at every __syncthreads, __syncwarp and shuffle; where not all of them arrive, the
 * program aborts and says so, which on a GPU would be a hang or worse. Device memory is malloc's, so that the sanitizers' tools and guard pages see it.
 *
 * Only what the .cu files use is here; add to it when they use more. */
#ifndef MP_TESTS_CUDA_RUNTIME_H
#define MP_TESTS_CUDA_RUNTIME_H

#ifdef __cplusplus
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <functional>

using std::max;
using std::min;
#endif
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- runtime ---- */

typedef enum cudaError { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorMemoryAllocation = 2, cudaErrorNoDevice = 100 } cudaError_t;
typedef struct emu_stream *cudaStream_t;
typedef struct emu_event *cudaEvent_t;
enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault };
enum { cudaEventDisableTiming = 2, cudaStreamNonBlocking = 1, cudaHostAllocDefault = 0, cudaHostRegisterPortable = 1 };
struct cudaDeviceProp {
    char name[256];
    int major, minor, multiProcessorCount;
    size_t totalGlobalMem;
};

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceGetPCIBusId(char *text, int room, int device);
cudaError_t cudaMemGetInfo(size_t *left, size_t *total);
cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned flags);
cudaError_t cudaHostUnregister(void *p);
cudaError_t cudaGetLastError(void);
const char *cudaGetErrorString(cudaError_t e);
cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *dst, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute attribute, int value);
void emu_fail_next_malloc(int after); /* the cudaMalloc `after` calls from now fails; for tests of errors */

#ifdef __cplusplus
}

/* ---- language ---- */

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __shared__ static /* blocks run one after the other */
#define __constant__ static
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct __align__(8) int2 { int x, y; };
struct __align__(16) int4 { int x, y, z, w; };
struct __align__(8) uint2 { unsigned x, y; };
struct __align__(16) uint4 { unsigned x, y, z, w; };
struct __align__(8) float2 { float x, y; };
struct __align__(16) float4 { float x, y, z, w; };
static inline float4 make_float4(float a, float b, float c, float d) { return { a, b, c, d }; }
static inline uint4 make_uint4(unsigned a, unsigned b, unsigned c, unsigned d) { return { a, b, c, d }; }
static inline float2 make_float2(float a, float b) { return { a, b }; }
static inline uint2 make_uint2(unsigned a, unsigned b) { return { a, b }; }

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

/* ---- threads ---- */

void emu_launch(dim3 grid, dim3 block, size_t shared, const std::function<void()> &thread);
void emu_block_barrier(void);
void emu_warp_barrier(void);
void *emu_exchange(void); /* the warp's [2][32] places of 64 bits; see emu_shuffle */
int emu_turn(void);       /* which of the two; another one each time, for each lane */
extern unsigned char *emu_shared;

#define MP_LAUNCH(kernel, grid, block, shared, stream, ...) ((void)(stream), emu_launch((grid), (block), (shared), [=] { kernel(__VA_ARGS__); }))
#define MP_SHARED(type, name) type *const name = (type *)(void *)emu_shared

static inline void __syncthreads(void) { emu_block_barrier(); }
static inline void __syncwarp(unsigned = 0xffffffffu) { emu_warp_barrier(); }

static inline int emu_lane(void) { return (int)((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x) % 32; }

template <class T> static inline T emu_shuffle(T v, int from)
{
    static_assert(sizeof(T) <= 8, "64 bits at most");
    uint64_t *place = (uint64_t *)emu_exchange() + 32 * emu_turn();
    memcpy(place + emu_lane(), &v, sizeof v);
    emu_warp_barrier();
    memcpy(&v, place + from, sizeof v);
    return v;
}
static inline void emu_gather(uint64_t v, uint64_t *all) /* every lane's v, to every lane */
{
    uint64_t *place = (uint64_t *)emu_exchange() + 32 * emu_turn();
    place[emu_lane()] = v;
    emu_warp_barrier();
    memcpy(all, place, 32 * sizeof *place);
}
template <class T> static inline T __shfl_sync(unsigned, T v, int from, int width = 32) { return emu_shuffle(v, emu_lane() / width * width + from % width); }
template <class T> static inline T __shfl_xor_sync(unsigned, T v, int mask) { return emu_shuffle(v, emu_lane() ^ mask); }
template <class T> static inline T __shfl_down_sync(unsigned, T v, int by) { return emu_shuffle(v, emu_lane() + by < 32 ? emu_lane() + by : emu_lane()); }
template <class T> static inline T __shfl_up_sync(unsigned, T v, int by) { return emu_shuffle(v, emu_lane() - by >= 0 ? emu_lane() - by : emu_lane()); }
/* What a whole warp does at once: all(what every lane brought), run once, before any of them goes on. What they brought must stay where it is meanwhile. */
template <class T, class F> static inline void emu_together(T *mine, F all)
{
    T **place = (T **)emu_exchange() + 32 * emu_turn();
    place[emu_lane()] = mine;
    emu_warp_barrier();
    if (emu_lane() == 0) /* the first to go on */
        all(place);
}
static inline unsigned __ballot_sync(unsigned, bool v)
{
    uint64_t *place = (uint64_t *)emu_exchange() + 32 * emu_turn();
    unsigned bits = 0;
    place[emu_lane()] = v;
    emu_warp_barrier();
    for (int i = 0; i < 32; i++)
        bits |= (unsigned)place[i] << i;
    return bits;
}

/* ---- arithmetic ---- */

static inline int __dp4a(int a, int b, int c)
{
    for (int i = 0; i < 4; i++)
        c += (int8_t)(a >> 8 * i) * (int8_t)(b >> 8 * i);
    return c;
}
static inline unsigned __uint_of(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
static inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
static inline unsigned __float_as_uint(float f) { return __uint_of(f); }
static inline int __float2int_rn(float f) { return (int)lrintf(f); }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) { return (unsigned)(((uint64_t)high << 32 | low) >> (by & 31)); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float emu_expf(float x) { return expf(x); }
#define __expf emu_expf /* glibc has the name */
static inline void sincospif(float x, float *s, float *c) { *s = (float)sin(M_PI * (double)x), *c = (float)cos(M_PI * (double)x); }
static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline int __ffs(int v) { return __builtin_ffs(v); }
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned s)
{
    uint64_t v = (uint64_t)b << 32 | a;
    unsigned r = 0;
    for (int i = 0; i < 4; i++)
        r |= (unsigned)(v >> 8 * (s >> 4 * i & 7) & 255) << 8 * i;
    return r;
}
template <class T> static inline T __ldg(const T *p) { return *p; }
template <class T> static inline T atomicAdd(T *p, T v) { T old = *p; *p += v; return old; } /* nothing runs at the same time */
template <class T> static inline T atomicMax(T *p, T v) { T old = *p; *p = old < v ? v : old; return old; }
#endif
#endif
