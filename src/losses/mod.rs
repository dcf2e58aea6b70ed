//! One file per loss, next to its declaration; the build script finds them by the declarations.

include!(concat!(env!("OUT_DIR"), "/losses.rs"));
