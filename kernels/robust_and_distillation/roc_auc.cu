// Bytes: 5 or 3 per sample and 8 for its pair, then those of a sort (sorting/sort.cu). Split: grid-stride; ranks of
// positives by looking for the ends of their scores. Bound: the sort.
#include "roc_auc.cuh"

LK_KERNEL(roc_auc_clear, lk_roc_auc_args) { lk::auc_clear(a); }
LK_KERNEL(roc_auc_keys, lk_roc_auc_args) { lk::auc_keys(a); }
LK_KERNEL(roc_auc_ranks, lk_roc_auc_args) { lk::auc_ranks(a); }
LK_KERNEL(roc_auc, lk_roc_auc_args) { lk::auc_value(a); }
