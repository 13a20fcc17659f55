/* The emulation's engine: contexts that hand over, and a runtime whose streams are always done. */
#include "cuda_runtime.h"

#include <stdio.h>
#include <sys/mman.h>

#include <vector>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
unsigned char *emu_shared;

enum { STACK = 128 << 10, MOST = 1024, LANES = 32 };
enum state { RUNS, AT_BLOCK, AT_WARP, DONE };

/* Contexts. swapcontext would do, but it asks the system for its signals each time: nine tenths of a test. */
#if defined(__x86_64__)
typedef void *context; /* its stack's pointer; on top lie the registers that a function must keep */
extern "C" void emu_switch(context *from, context to);
__asm__(".text\n.globl emu_switch\n.hidden emu_switch\n.type emu_switch, @function\nemu_switch:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\nmov %rsp, (%rdi)\n"
        "mov %rsi, %rsp\npop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n.size emu_switch, .-emu_switch\n");
static void go(context *from, context *to) { emu_switch(from, *to); }
static void begin(context *c, unsigned char *stack, void (*start)(void))
{
    void **top = (void **)(void *)(stack + STACK) - 8;
    memset(top, 0, 8 * sizeof *top);
    top[6] = (void *)start;
    *c = top;
}
#else
#include <ucontext.h>
typedef ucontext_t context;
static void go(context *from, context *to) { swapcontext(from, to); }
static void begin(context *c, unsigned char *stack, void (*start)(void))
{
    getcontext(c);
    c->uc_stack.ss_sp = stack;
    c->uc_stack.ss_size = STACK;
    c->uc_link = NULL;
    makecontext(c, start, 0);
}
#endif

struct thread {
    context where;
    uint3   index;
    state   at;
    int     turn; /* of its next shuffle */
};

static thread threads[MOST];
static uint64_t exchange[MOST / LANES][2][LANES];
static context scheduler;
static int current;
static const std::function<void()> *body;

static unsigned char *stacks(void)
{
    static unsigned char *base;
    if (!base)
        base = (unsigned char *)mmap(NULL, (size_t)MOST * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return base;
}

static void hand_over(state at)
{
    threads[current].at = at;
    go(&threads[current].where, &scheduler);
}

void emu_block_barrier(void) { hand_over(AT_BLOCK); }
void emu_warp_barrier(void) { hand_over(AT_WARP); }
void *emu_exchange(void) { return exchange[current / LANES]; }
int emu_turn(void) { return threads[current].turn ^= 1; }

static void run_thread(void)
{
    (*body)();
    threads[current].at = DONE;
    go(&threads[current].where, &scheduler);
}

static void resume(int i)
{
    current = i;
    threadIdx = threads[i].index;
    go(&scheduler, &threads[i].where);
}

/* Threads [first, last) go on when each of them that is not done has come to the same place. */
static bool release(int first, int last, state at)
{
    int here = 0, done = 0;
    for (int i = first; i < last; i++)
        here += threads[i].at == at, done += threads[i].at == DONE;
    if (here == 0 || here + done < last - first)
        return false;
    if (done) {
        fprintf(stderr, "emulated CUDA: block (%u, %u): %d of the threads %d to %d wait where others have left\n", blockIdx.x, blockIdx.y, here, first, last - 1);
        abort();
    }
    for (int i = first; i < last; i++)
        threads[i].at = RUNS;
    return true;
}

static void run_block(int n)
{
    for (;;) {
        bool moved = false, all_done = true;
        for (int i = 0; i < n; i++)
            if (threads[i].at == RUNS)
                resume(i), moved = true;
        for (int w = 0; w < n; w += LANES)
            moved |= release(w, w + LANES < n ? w + LANES : n, AT_WARP);
        moved |= release(0, n, AT_BLOCK);
        for (int i = 0; i < n; i++)
            all_done &= threads[i].at == DONE;
        if (all_done)
            return;
        if (!moved) {
            fprintf(stderr, "emulated CUDA: block (%u, %u): threads wait for each other at different places\n", blockIdx.x, blockIdx.y);
            abort();
        }
    }
}

void emu_launch(dim3 grid, dim3 block, size_t shared, const std::function<void()> &thread_body)
{
    const int n = (int)(block.x * block.y * block.z);
    if (n < 1 || n > MOST || shared > 227 << 10 || grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.y > 65535 || grid.z > 65535) {
        fprintf(stderr, "emulated CUDA: no such launch: grid (%u, %u, %u), block of %d, %zu bytes shared\n", grid.x, grid.y, grid.z, n, shared);
        abort();
    }
    std::vector<unsigned char> memory(shared + 64);
    emu_shared = (unsigned char *)(((uintptr_t)memory.data() + 15) & ~(uintptr_t)15);
    body = &thread_body;
    blockDim = block, gridDim = grid;
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                blockIdx = { x, y, z };
                memset(emu_shared, 0xff, shared); /* what a GPU leaves there is anything; this is NaN, as float and as half */
                for (int i = 0; i < n; i++) {
                    thread *t = threads + i;
                    t->index = { (unsigned)i % block.x, (unsigned)i / block.x % block.y, (unsigned)i / (block.x * block.y) };
                    t->at = RUNS, t->turn = 0;
                    begin(&t->where, stacks() + (size_t)i * STACK, run_thread);
                }
                run_block(n);
            }
}

/* ---- runtime ---- */

static int fail_after = -1;
static cudaError_t last = cudaSuccess;

extern "C" {
void emu_fail_next_malloc(int after) { fail_after = after; }
cudaError_t cudaGetDeviceCount(int *count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int)
{
    *p = {};
    strcpy(p->name, "emulated");
    p->major = 8, p->minor = 0, p->multiProcessorCount = 4, p->totalGlobalMem = (size_t)1 << 30;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaDeviceGetPCIBusId(char *text, int room, int) { return snprintf(text, (size_t)room, "0000:3B:00.0"), cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t *left, size_t *total) { return *left = (size_t)1 << 30, *total = (size_t)1 << 30, cudaSuccess; }
cudaError_t cudaHostRegister(void *, size_t, unsigned) { return cudaSuccess; }
cudaError_t cudaHostUnregister(void *) { return cudaSuccess; }
cudaError_t cudaGetLastError(void)
{
    cudaError_t e = last;
    last = cudaSuccess;
    return e;
}
const char *cudaGetErrorString(cudaError_t e) { return e == cudaErrorMemoryAllocation ? "out of memory" : e == cudaSuccess ? "no error" : "invalid"; }
cudaError_t cudaMalloc(void **p, size_t bytes)
{
    *p = fail_after == 0 ? NULL : aligned_alloc(256, (bytes + 255) / 256 * 256);
    fail_after = fail_after >= 0 ? fail_after - 1 : -1;
    return *p ? cudaSuccess : last = cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void *p) { return free(p), cudaSuccess; }
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned) { return (*p = malloc(bytes)) ? cudaSuccess : cudaErrorMemoryAllocation; }
cudaError_t cudaFreeHost(void *p) { return free(p), cudaSuccess; }
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind, cudaStream_t) { return memcpy(dst, src, bytes), cudaSuccess; }
cudaError_t cudaMemsetAsync(void *dst, int value, size_t bytes, cudaStream_t) { return memset(dst, value, bytes), cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned) { return *s = NULL, cudaSuccess; }
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned) { return *e = NULL, cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute, int) { return cudaSuccess; }
}
