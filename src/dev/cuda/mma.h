/* What a whole warp does at once with halves: matrix products, transposing loads; and copies into shared memory that do not wait. Each has a twin for the
 * emulation that does what the PTX ISA says of the fragments. Only for .cu files.
 *
 * A fragment's register holds two halves, the lower index in the lower bits. Of lane l with g = l / 4, t = l % 4 (PTX ISA, "Matrix fragments for mma.m16n8k16"):
 *   A 16 x 16   a[0] (g, 2t..)  a[1] (g+8, 2t..)  a[2] (g, 2t+8..)  a[3] (g+8, 2t+8..)
 *   B 16 x 8    b[0] (2t.., g)  b[1] (2t+8.., g)
 *   C 16 x 8    c[0] c[1] (g, 2t..)  c[2] c[3] (g+8, 2t..) */
#ifndef MP_DEV_CUDA_MMA_H
#define MP_DEV_CUDA_MMA_H

#include "dev/cuda/kernel.h"

#ifdef __CUDACC__

/* Two floats to halves, to nearest even. */
__device__ static inline uint32_t mp_pack_halves(float low, float high)
{
    const __half2 both = __floats2half2_rn(low, high);
    return (uint32_t)__half_as_ushort(__low2half(both)) | (uint32_t)__half_as_ushort(__high2half(both)) << 16;
}

/* C += A B, halves, added in float32. */
__device__ static inline void mp_mma_f16_16x8x16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else /* in two halves along k; their fragments are the first and the last registers */
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b[1]));
#endif
}

/* Four 8 x 8 matrices of halves in shared memory; lane l brings the address of row l % 8 of matrix l / 8, a multiple of 16 bytes. Register i of lane l gets
 * elements (2 (l % 4), l / 4) and (2 (l % 4) + 1, l / 4) of matrix i: b of a B whose rows lie in memory. */
__device__ static inline void mp_load_f16_8x8x4_turned(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
}

/* 16 bytes of device memory into shared memory, or zeros. They are there after mp_copy_wait and a barrier. Before sm_80 it is a load and a store. */
__device__ static inline void mp_copy_16(void *shared, const void *global, bool zeros)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned)__cvta_generic_to_shared(shared)), "l"(global), "r"(zeros ? 0 : 16) : "memory");
#else
    *(uint4 *)shared = zeros ? make_uint4(0, 0, 0, 0) : __ldg((const uint4 *)global);
#endif
}

/* Ends a group of copies. */
__device__ static inline void mp_copy_end(void)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* Until all groups but the LEFT last ones are there. */
template <int LEFT> __device__ static inline void mp_copy_wait(void)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
#endif
}

#else /* the emulation */

static inline uint32_t mp_pack_halves(float low, float high)
{
    return (uint32_t)mp_f32_half(low) | (uint32_t)mp_f32_half(high) << 16;
}

struct mp_mma_f16_lane {
    float          *c;
    const uint32_t *a, *b;
};

static inline float mp_half_of(const uint32_t *r, int i) /* i-th half of consecutive registers */
{
    return mp_half_f32((uint16_t)(r[i / 2] >> 16 * (i % 2)));
}

static inline void mp_mma_f16_16x8x16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    mp_mma_f16_lane mine = { c, a, b };
    emu_together(&mine, [](mp_mma_f16_lane **lane) {
        float ma[16][16], mb[16][8];
        for (int l = 0; l < 32; l++)
            for (int i = 0; i < 8; i++) { /* register i / 2 */
                const int g = l / 4, k = 2 * (l % 4) + i % 2;
                ma[g + 8 * (i / 2 % 2)][k + 8 * (i / 4)] = mp_half_of(lane[l]->a, i);
                if (i < 4)
                    mb[k + 8 * (i / 2)][g] = mp_half_of(lane[l]->b, i);
            }
        for (int l = 0; l < 32; l++)
            for (int i = 0; i < 4; i++)
                for (int k = 0; k < 16; k++)
                    lane[l]->c[i] = fmaf(ma[l / 4 + 8 * (i / 2)][k], mb[k][2 * (l % 4) + i % 2], lane[l]->c[i]);
    });
}

struct mp_load_f16_lane {
    uint32_t   *r;
    const void *row;
};

static inline void mp_load_f16_8x8x4_turned(uint32_t r[4], const void *row)
{
    mp_load_f16_lane mine = { r, row };
    emu_together(&mine, [](mp_load_f16_lane **lane) {
        for (int l = 0; l < 32; l++)
            for (int i = 0; i < 4; i++) {
                const uint16_t *low = (const uint16_t *)lane[8 * i + 2 * (l % 4)]->row, *high = (const uint16_t *)lane[8 * i + 2 * (l % 4) + 1]->row;
                lane[l]->r[i] = (uint32_t)low[l / 4] | (uint32_t)high[l / 4] << 16;
            }
    });
}

static inline void mp_copy_16(void *shared, const void *global, bool zeros)
{
    if (((uintptr_t)shared | (uintptr_t)global) % 16)
        __builtin_trap(); /* a GPU would stop too */
    if (zeros)
        memset(shared, 0, 16);
    else
        memcpy(shared, global, 16);
}
static inline void mp_copy_end(void) {}
template <int LEFT> static inline void mp_copy_wait(void) {}
#endif
#endif
