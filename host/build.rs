//! Tells the linker of the binary how to write it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |key: &str, value: &str| std::env::var(key).is_ok_and(|v| v == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        // Fifty thousand relocations at each start: as a bitmap they are some kilobytes to read instead of 1.2 MB.
        // Needs glibc 2.36; linkers that do not know it say so and go on.
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
