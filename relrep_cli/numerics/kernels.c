/* The few loops that NumPy has no fast form of, in plain C: what relrep_cli/numerics/native.py loads. No Python in here.

   Every value is computed with the same operations in the same order as the kernels of numba compute it (compiled_distances.py,
   neighbors/scans.py), so results have the same bits on every processor: compile with -ffp-contract=off and without
   -ffast-math. Exponentials alone may differ from those of NumPy in the last place. On x86-64 under Linux the compiler makes several variants, and the loader chooses one for the processor. */

#include <math.h>
#include <stdint.h>
#if defined(__GNUC__) && defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#if defined(__GNUC__) && defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
#define VARIANTS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VARIANTS
#endif
#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#define EXPORT __attribute__((visibility("default")))
#else
#define INLINE static inline
#define EXPORT __declspec(dllexport)
#endif

#define GROUP 64 /* values that are compared with the threshold before any of them is looked at */
#define STEP 8   /* dimensions folded into a running total at once */
#define LANES 16 /* sums of one row, side by side */

/* Changes with the arguments of any function, so that a file that was compiled before is not used. */
int32_t relrep_version(void);
EXPORT int32_t relrep_version(void) { return 5; }

/* --- heaps of the nearest rows: the first element is the least --- */

INLINE void replace_least(float *near, int32_t *rows, int64_t c, float value, int32_t row) {
    int64_t place = 0, child = 1;
    while (child < c) {
        if (child + 1 < c && near[child + 1] < near[child]) child++;
        if (near[child] >= value) break;
        near[place] = near[child];
        rows[place] = rows[child];
        place = child;
        child = 2 * child + 1;
    }
    near[place] = value;
    rows[place] = row;
}

INLINE void offer(float *near, int32_t *rows, float *least, int64_t c, int64_t i, float value, int64_t row) {
    if (value > least[i]) {
        replace_least(near + i * c, rows + i * c, c, value, (int32_t)row);
        least[i] = near[i * c];
    }
}

/* Update the heaps of the rows of a tile (a, b) with its columns, which are base rows from `first` on. half (a) and other (b)
   are subtracted from the tile; plain: they are all 0. near, rows: (a, c) heaps. least: (a) their first elements. */
VARIANTS EXPORT void relrep_one_side(const float *tile, int64_t a, int64_t b, int64_t first, const float *half, const float *other,
                                     int32_t plain, float *near, int32_t *rows, int64_t c, float *least) {
    for (int64_t i = 0; i < a; i++) {
        const float *line = tile + i * b;
        const float own = half[i];
        int64_t start = 0;
        for (; start + GROUP <= b; start += GROUP) {
            const float *some = line + start, *sizes = other + start;
            const float bar = least[i];
            int32_t hit = 0;
            if (plain)
                for (int j = 0; j < GROUP; j++) hit |= some[j] > bar;
            else
                for (int j = 0; j < GROUP; j++) hit |= some[j] - own - sizes[j] > bar;
            if (hit)
                for (int j = 0; j < GROUP; j++)
                    offer(near, rows, least, c, i, some[j] - own - sizes[j], first + start + j);
        }
        for (; start < b; start++) offer(near, rows, least, c, i, line[start] - own - other[start], first + start);
    }
}

/* Update the heaps of the rows and of the columns of a tile, which are rows from `from_a` and from `from_b` on of one space.
   half: (n) subtracted on both sides. near, rows: (n, c) heaps. least: (n) their first elements. */
VARIANTS EXPORT void relrep_both_sides(const float *tile, int64_t a, int64_t b, int64_t from_a, int64_t from_b, const float *half,
                                       int32_t plain, float *near, int32_t *rows, int64_t c, float *least) {
    for (int64_t i = 0; i < a; i++) {
        const float *line = tile + i * b;
        const int64_t at = from_a + i;
        const float own = half[at];
        int64_t start = 0;
        for (; start + GROUP <= b; start += GROUP) {
            const float *some = line + start, *sizes = half + from_b + start, *bars = least + from_b + start;
            const float bar = least[at];
            int32_t hit = 0;
            if (plain)
                for (int j = 0; j < GROUP; j++) hit |= some[j] > (bars[j] < bar ? bars[j] : bar);
            else
                for (int j = 0; j < GROUP; j++) hit |= some[j] - own - sizes[j] > (bars[j] < bar ? bars[j] : bar);
            if (hit)
                for (int j = 0; j < GROUP; j++) {
                    const float value = some[j] - own - sizes[j];
                    offer(near, rows, least, c, at, value, from_b + start + j);
                    offer(near, rows, least, c, from_b + start + j, value, at);
                }
        }
        for (; start < b; start++) {
            const float value = line[start] - own - half[from_b + start];
            offer(near, rows, least, c, at, value, from_b + start);
            offer(near, rows, least, c, from_b + start, value, at);
        }
    }
}

/* --- distances: x (rows, depth) with `stride` numbers from row to row, panel (depth, width), total (rows, width) --- */

#define FOLD(JOIN)                                                                                                              \
    for (int64_t k = 0; k < depth; k += STEP)                                                                                   \
        for (int64_t i = 0; i < rows; i++) {                                                                                    \
            const float *p = x + i * stride + k, *q = panel + k * width;                                                        \
            float *into = total + i * width;                                                                                    \
            const float a = p[0], b = p[1], c = p[2], e = p[3], f = p[4], g = p[5], h = p[6], u = p[7];                         \
            for (int64_t j = 0; j < width; j++) {                                                                               \
                const float lower = JOIN(JOIN(fabsf(a - q[j]), fabsf(b - q[j + width])),                                        \
                                         JOIN(fabsf(c - q[j + 2 * width]), fabsf(e - q[j + 3 * width])));                       \
                const float upper = JOIN(JOIN(fabsf(f - q[j + 4 * width]), fabsf(g - q[j + 5 * width])),                        \
                                         JOIN(fabsf(h - q[j + 6 * width]), fabsf(u - q[j + 7 * width])));                       \
                into[j] = JOIN(into[j], JOIN(lower, upper));                                                                    \
            }                                                                                                                   \
        }

INLINE float sum(float p, float q) { return p + q; }
INLINE float larger(float p, float q) { return p > q ? p : q; }
INLINE float smaller(float p, float q) { return p < q ? p : q; }

VARIANTS EXPORT void relrep_l1(const float *restrict x, int64_t rows, int64_t depth, int64_t stride, const float *restrict panel,
                               int64_t width, float *restrict total) {
    for (int64_t j = 0; j < rows * width; j++) total[j] = 0;
    FOLD(sum)
}

VARIANTS EXPORT void relrep_chebyshev(const float *restrict x, int64_t rows, int64_t depth, int64_t stride,
                                      const float *restrict panel, int64_t width, float *restrict total) {
    for (int64_t j = 0; j < rows * width; j++) total[j] = 0;
    FOLD(larger)
}

/* Four sums of squared differences, whose sum is the squared distance. Their order is the same on every processor. */
INLINE void quarters(const float *restrict row, const float *restrict pick, int64_t d, float *restrict four) {
    const int64_t whole = d / LANES * LANES;
    float sums[LANES] = {0}, half[LANES / 2];
    for (int64_t k = 0; k < whole; k += LANES)
        for (int j = 0; j < LANES; j++) {
            const float gap = row[k + j] - pick[k + j];
            sums[j] += gap * gap;
        }
    for (int64_t k = whole; k < d; k++) sums[k - whole] += (row[k] - pick[k]) * (row[k] - pick[k]);
    for (int j = 0; j < LANES / 2; j++) half[j] = sums[j] + sums[j + LANES / 2];
    for (int j = 0; j < 4; j++) four[j] = half[j] + half[j + 4];
}

#define ROWS 16

/* Update `nearest` (n), the squared distance of each row of x (n, d) to the nearest chosen point, with the new point `pick` (d).
   Returns the row with the largest. */
VARIANTS EXPORT int64_t relrep_recede(const float *restrict x, int64_t n, int64_t d, const float *restrict pick,
                                      float *restrict nearest) {
    float four[ROWS * 4], most;
    int64_t farthest = 0, i = 0;
    for (; i < n; i += ROWS) {
        const int64_t some = n - i < ROWS ? n - i : ROWS;
        if (some == ROWS)
            for (int r = 0; r < ROWS; r++) quarters(x + (i + r) * d, pick, d, four + 4 * r);
        else
            for (int r = 0; r < some; r++) quarters(x + (i + r) * d, pick, d, four + 4 * r);
        for (int r = 0; r < some; r++) {
            const float total = (four[4 * r] + four[4 * r + 2]) + (four[4 * r + 1] + four[4 * r + 3]);
            nearest[i + r] = total < nearest[i + r] ? total : nearest[i + r];
        }
    }
    most = nearest[0];
    for (i = 0; i < n; i += GROUP) {
        const int64_t end = n - i < GROUP ? n : i + GROUP;
        int32_t hit = 0;
        for (int64_t j = i; j < end; j++) hit |= nearest[j] > most;
        if (hit)
            for (int64_t j = i; j < end; j++)
                if (nearest[j] > most) {
                    most = nearest[j];
                    farthest = j;
                }
    }
    return farthest;
}

/* --- the nearest of several centres --- */

INLINE int32_t any_as_large(const float *restrict values, const float *restrict half, int count, float bar) {
    int32_t hit = 0;
    for (int j = 0; j < count; j++) hit |= values[j] - half[j] >= bar;
    return hit;
}

/* For each row of values (n, c), less `half` (c): the place of the largest value, the first of equal ones, this value, and the
   largest of the others, minus infinity for a single centre. */
VARIANTS EXPORT void relrep_two_largest(const float *restrict values, int64_t n, int64_t c, const float *restrict half,
                                        int64_t *restrict place, float *restrict first, float *restrict second) {
    const int64_t whole = c / LANES * LANES;
    for (int64_t i = 0; i < n; i++, values += c) {
        float best[LANES], next[LANES];
        for (int j = 0; j < LANES; j++) best[j] = next[j] = -INFINITY;
        for (int64_t k = 0; k < whole; k += LANES)
            for (int j = 0; j < LANES; j++) {
                const float value = values[k + j] - half[k + j], lower = smaller(value, best[j]);
                best[j] = larger(value, best[j]);
                next[j] = larger(lower, next[j]);
            }
        for (int width = LANES / 2; width; width /= 2)
            for (int j = 0; j < width; j++) {
                next[j] = larger(smaller(best[j], best[j + width]), larger(next[j], next[j + width]));
                best[j] = larger(best[j], best[j + width]);
            }
        for (int64_t k = whole; k < c; k++) {
            const float value = values[k] - half[k];
            next[0] = larger(smaller(value, best[0]), next[0]);
            best[0] = larger(value, best[0]);
        }
        int64_t at = 0;
        while (at + GROUP <= c && !any_as_large(values + at, half + at, GROUP, best[0])) at += GROUP;
        while (at + LANES <= c && !any_as_large(values + at, half + at, LANES, best[0])) at += LANES;
        while (at < c - 1 && values[at] - half[at] < best[0]) at++;
        place[i] = at;
        first[i] = best[0];
        second[i] = next[0];
    }
}

/* Add each row of x (n, d) to the row of sums (c, d) that its label names, one after the other. */
VARIANTS EXPORT void relrep_add_rows(const float *restrict x, int64_t n, int64_t d, const int64_t *restrict labels,
                                     double *restrict sums) {
    for (int64_t i = 0; i < n; i++) {
        double *restrict into = sums + labels[i] * d;
        for (int64_t k = 0; k < d; k++) into[k] += x[i * d + k];
    }
}

/* --- kernel values --- */

/* Each of n values becomes exp(value * factor), for products from -708 to 0; lower ones count as -708. Within two units in the last
   place of the true value. With q the nearest whole number of product / log(2), the rest lies within log(2) / 2 of 0, where 14
   terms of the series suffice, and 2^q is made by its bits. */
VARIANTS EXPORT void relrep_exponentials(double *restrict values, int64_t n, double factor) {
    const double whole = 6755399441055744.0; /* 1.5 * 2^52: added to a number, it leaves the nearest whole one in the last bits */
    for (int64_t i = 0; i < n; i++) {
        const double given = values[i] * factor, x = given < -708 ? -708 : given;
        union { double number; int64_t bits; } q = {x * 1.4426950408889634 + whole}, power;
        const double count = q.number - whole, r = (x - count * 6.93147180369123816490e-01) - count * 1.90821492927058770002e-10;
        double sum = 1.0 / 6227020800;
        sum = sum * r + 1.0 / 479001600;
        sum = sum * r + 1.0 / 39916800;
        sum = sum * r + 1.0 / 3628800;
        sum = sum * r + 1.0 / 362880;
        sum = sum * r + 1.0 / 40320;
        sum = sum * r + 1.0 / 5040;
        sum = sum * r + 1.0 / 720;
        sum = sum * r + 1.0 / 120;
        sum = sum * r + 1.0 / 24;
        sum = sum * r + 1.0 / 6;
        sum = sum * r + 0.5;
        sum = sum * r + 1;
        sum = sum * r + 1;
        power.bits = (int64_t)((uint64_t)(q.bits + 1023) << 52);
        values[i] = sum * power.number;
    }
}

/* --- Gram matrices of permuted rows --- */

/* For each of m orders of the n rows of a symmetric matrix gram (n, n), and for each of `count` others: the sum over i > j of
   gram[order[i], order[j]] * other[i, j], into out (count, m). An other is its rows below the diagonal, each filled up with zeros
   to a multiple of LANES; it has `size` numbers. A row is gathered once for all others. room: n + LANES numbers. */
VARIANTS EXPORT void relrep_permuted_grams(const double *restrict gram, int64_t n, const int32_t *restrict orders, int64_t m,
                                           const double *restrict others, int64_t size, int64_t count, double *restrict room,
                                           double *restrict out) {
    int64_t at = 0;
    for (int64_t k = 0; k < count * m; k++) out[k] = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t width = (i + LANES - 1) / LANES * LANES;
        for (int64_t p = 0; p < m; p++) {
            const int32_t *restrict order = orders + p * n;
            const double *restrict row = gram + order[i] * n;
            for (int64_t j = 0; j < i; j++) room[j] = row[order[j]];
            for (int64_t j = i; j < width; j++) room[j] = 0;
            for (int64_t c = 0; c < count; c++) {
                const double *restrict other = others + c * size + at;
                double sums[LANES] = {0};
                for (int64_t k = 0; k < width; k += LANES)
                    for (int j = 0; j < LANES; j++) sums[j] += room[k + j] * other[k + j];
                for (int half = LANES / 2; half; half /= 2)
                    for (int j = 0; j < half; j++) sums[j] += sums[j + half];
                out[c * m + p] += sums[0];
            }
        }
        at += width;
    }
}

/* --- half precision --- */

int64_t relrep_halves_are_finite(const uint16_t *halves, int64_t n);
int64_t relrep_converts_halves(void);
void relrep_widen_halves(const uint16_t *halves, int64_t n, int64_t d, const float *less, float *out);
void relrep_round_to_halves(const float *x, int64_t n, int64_t d, const float *more, uint16_t *out);

/* Whether none of the n numbers is NaN or infinite: whether no exponent is all ones. */
VARIANTS EXPORT int64_t relrep_halves_are_finite(const uint16_t *halves, int64_t n) {
    uint16_t bad = 0;
    for (int64_t i = 0; i < n; i++) bad |= (halves[i] & 0x7c00) == 0x7c00;
    return !bad;
}

/* Whether the two functions below may be called: whether the processor has F16C, and the system keeps the registers of AVX.
   They convert eight numbers at a time and round as NumPy does. */
#if defined(__GNUC__) && defined(__x86_64__)
#define F16C __attribute__((target("avx,f16c")))

EXPORT int64_t relrep_converts_halves(void) {
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) && __builtin_cpu_supports("avx");
}

/* out (n, d) = halves - less (d). */
EXPORT F16C void relrep_widen_halves(const uint16_t *restrict halves, int64_t n, int64_t d, const float *restrict less,
                                     float *restrict out) {
    for (int64_t i = 0; i < n; i++, halves += d, out += d) {
        int64_t k = 0;
        for (; k + 8 <= d; k += 8) {
            const __m256 wide = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(halves + k)));
            _mm256_storeu_ps(out + k, _mm256_sub_ps(wide, _mm256_loadu_ps(less + k)));
        }
        for (; k < d; k++) out[k] = _cvtsh_ss(halves[k]) - less[k];
    }
}

/* out (n, d) = x + more (d), to the nearest half, ties to even. */
EXPORT F16C void relrep_round_to_halves(const float *restrict x, int64_t n, int64_t d, const float *restrict more,
                                        uint16_t *restrict out) {
    for (int64_t i = 0; i < n; i++, x += d, out += d) {
        int64_t k = 0;
        for (; k + 8 <= d; k += 8) {
            const __m256 sum = _mm256_add_ps(_mm256_loadu_ps(x + k), _mm256_loadu_ps(more + k));
            _mm_storeu_si128((__m128i *)(out + k), _mm256_cvtps_ph(sum, 0));
        }
        for (; k < d; k++) out[k] = _cvtss_sh(x[k] + more[k], 0);
    }
}
#else
EXPORT int64_t relrep_converts_halves(void) { return 0; }
EXPORT void relrep_widen_halves(const uint16_t *halves, int64_t n, int64_t d, const float *less, float *out) {
    (void)halves, (void)n, (void)d, (void)less, (void)out;
}
EXPORT void relrep_round_to_halves(const float *x, int64_t n, int64_t d, const float *more, uint16_t *out) {
    (void)x, (void)n, (void)d, (void)more, (void)out;
}
#endif
