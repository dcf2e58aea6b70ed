//! l = (pred - target)^2.

use crate::losses::shared::MseLoss;

pair_entry!(mse_loss, |_: &Call| MseLoss);
