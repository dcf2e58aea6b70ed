// Bytes: both rows once from memory, their gradients once to memory; the second sweep finds the rows in L2.
// Split: skeletons/row_sets.cuh. Bound: memory, on GPUs with full-rate f64 (three f64 operations an element).
#include "cosine_embedding_loss.cuh"

LK_KERNEL(cosine_embedding_loss, lk_cosine_embedding_loss_args) { lk::row_sets_kernel<lk::CosineEmbeddingLoss>(a); }
