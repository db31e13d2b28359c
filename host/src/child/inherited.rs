//! What this process was started with besides its three streams is not for what it starts.

#![allow(unsafe_code, reason = "the library of system calls has no safe way to say this of descriptors nobody here holds")]

/// Marks every descriptor above the three streams, so that none is handed on.
///
/// # Errors
/// Of the system; Linux has it since 5.11.
pub(super) fn keep_back() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        const CLOEXEC: libc::c_uint = 4;
        // SAFETY: it closes nothing and reads no memory: it sets a mark on descriptors, which counts at an exec alone.
        let set = unsafe { libc::syscall(libc::SYS_close_range, 3 as libc::c_uint, libc::c_uint::MAX, CLOEXEC) };
        if set != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}
