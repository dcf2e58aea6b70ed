// Sums over the rows of a kernel matrix, in log space, and of the parts of a gradient.
//
// Floor of gram_row_sums: 2 operations a dimension and about 20 an exponential for every pair, so bound by
// arithmetic; of memory each set once a block of 64 rows, which mostly finds it in L2. Split: blocks of rows, and
// where there are few of them, columns dealt out to several blocks whose sums the other two kernels merge
// in their order.
#include "../skeletons/gram.cuh"

LK_KERNEL(gram_row_sums, lk_gram_sums_args, 256) { lk::gram_row_sums(a); }

// The splits of a row.
LK_KERNEL(gram_combine, lk_gram_combine_args, 256) {
  using namespace lk;
  const u64 r = u64(blockIdx.x) * blockDim.x + threadIdx.x, half = a.splits * a.rows;
  if (r >= a.rows) return;
  LogSum total = log_sum_none();
  for (u64 s = 0; s < a.splits; ++s) {
    const u64 at = s * a.rows + r;
    total = log_sum_merge(total, {a.sums[at], a.sums[half + at]});
  }
  a.out[r] = total.least;
  a.out[a.rows + r] = static_cast<float>(total.sum);
}

// All rows and splits, by one block.
LK_KERNEL(gram_total, lk_gram_combine_args) {
  using namespace lk;
  __shared__ LogSum scratch[32];
  const u64 count = a.splits * a.rows;
  LogSum total = log_sum_none();
  for (u64 i = threadIdx.x; i < count; i += blockDim.x) total = log_sum_merge(total, {a.sums[i], a.sums[count + i]});
  total = reduce_group(total, log_sum_none(), scratch, [](const LogSum& p, const LogSum& q) { return log_sum_merge(p, q); });
  if (threadIdx.x != 0) return;
  a.out[0] = total.least;
  a.out[1] = static_cast<float>(total.sum);
}

LK_KERNEL(gram_gradient_combine, lk_gram_gradient_args, 128) { lk::gram_gradient_combine(a); }
