use std::ffi::{CStr, c_char};

/// Version of the library in use, as "major.minor.patch"; compare with LK_VERSION_STRING of the header.
#[unsafe(no_mangle)]
pub extern "C" fn lk_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("the version holds no zero byte"),
        };
    VERSION.as_ptr()
}

/// Every entry of the library as JSON: documentation, dimensions, inputs, options with types, defaults and
/// ranges, outputs, and the parameters of each C function in order. Bindings build themselves from it.
#[unsafe(no_mangle)]
pub extern "C" fn lk_registry_json() -> *const c_char {
    const JSON: &CStr = match CStr::from_bytes_with_nul(
        concat!(include_str!(concat!(env!("OUT_DIR"), "/registry.json")), "\0").as_bytes(),
    ) {
        Ok(json) => json,
        Err(_) => panic!("the registry holds no zero byte"),
    };
    JSON.as_ptr()
}
