use crate::abi::types::*;
use crate::registry::{Error, Result};
use std::cell::RefCell;
use std::ffi::{CString, c_char};

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::new(CString::default());
}

/// What went wrong in the last failed call of this thread: which argument, its value, what was expected.
/// Never NULL; empty when nothing has failed. Valid until the next failing call of this thread.
#[unsafe(no_mangle)]
pub extern "C" fn lk_last_error_message() -> *const c_char {
    // A thread that is being torn down has no message any more.
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// Name of a status, such as "invalid argument". Never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn lk_status_string(status: lk_status) -> *const c_char {
    let text = match status {
        LK_STATUS_OK => c"ok",
        LK_STATUS_INVALID_ARGUMENT => c"invalid argument",
        LK_STATUS_INVALID_OPTION => c"invalid option",
        LK_STATUS_INVALID_LABEL => c"invalid label",
        LK_STATUS_WORKSPACE_TOO_SMALL => c"workspace too small",
        LK_STATUS_UNSUPPORTED => c"unsupported",
        LK_STATUS_CUDA => c"CUDA error",
        LK_STATUS_INTERNAL => c"internal error",
        _ => c"unknown status",
    };
    text.as_ptr()
}

pub(super) fn report(result: Result<()>) -> lk_status {
    let Err(error) = result else { return LK_STATUS_OK };
    record(&error);
    error.status as lk_status
}

fn record(error: &Error) {
    let message = CString::new(error.message.replace('\0', " ")).unwrap_or_default();
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = message);
}

/// Runs `body`; a panic becomes an error, since none may cross into C.
pub(super) fn guard(body: impl FnOnce() -> Result<()>) -> lk_status {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    report(outcome.unwrap_or_else(|cause| {
        let text = cause
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(cause.downcast_ref::<&str>().copied())
            .unwrap_or("unknown cause");
        Err(Error::new(
            crate::registry::Status::Internal,
            format!("internal error, please report it: {text}"),
        ))
    }))
}
