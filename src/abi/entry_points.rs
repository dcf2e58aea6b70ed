//! The generated `extern "C"` functions of all entries.

#![allow(clippy::missing_safety_doc, clippy::too_many_arguments)]

use super::context::lk_context;
use super::enter::{Vtable, enter, workspace_size};
use super::types::{lk_dtype, lk_status};
use crate::registry::Pass;
use crate::registry::entries;
pub use crate::registry::entries::*;
use std::ffi::c_void;

include!(concat!(env!("OUT_DIR"), "/functions.rs"));
