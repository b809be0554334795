//! The tests of the arithmetic kernels on emulated Arm processors.
//!
//! qemu runs the tests of `lilims-quant` once for each kind of processor that has kernels of its
//! own. On a machine that is no Debian or Ubuntu on x86-64 there is no set-up for it, and the step
//! is left out; an Arm machine runs the kernels that it has among the other tests.

use std::path::Path;
use std::process::Command;

use crate::places::Places;
use crate::process;
use crate::setup::wasm::{DEBIAN_RUSTC, has_target, use_debian_rust};

/// The target triple of the emulated programs.
pub(crate) const TARGET: &str = "aarch64-unknown-linux-gnu";

/// The processors, and the best instruction set of each.
pub(crate) const PROCESSORS: [(&str, &str); 3] =
    [("max", "neon-i8mm"), ("cortex-a76", "neon-dotprod"), ("cortex-a53", "neon")];

/// Whether the emulator and its compiler can be set up here.
pub(crate) fn is_possible() -> bool {
    cfg!(all(target_os = "linux", target_arch = "x86_64"))
        && Path::new("/etc/debian_version").exists()
}

/// Whether Debian's compiler has to do it.
pub(crate) fn needs_debian_rust() -> bool {
    !has_target("rustc", TARGET)
}

/// `cargo test` for the kernels, run on the processor, which must have the instruction set.
pub(crate) fn test_command(places: &Places, processor: &str, isa: &str) -> Command {
    let mut command = if needs_debian_rust() {
        let mut command = Command::new(Path::new(DEBIAN_RUSTC).with_file_name("cargo"));
        use_debian_rust(&mut command);
        let crates = "std,panic_abort,panic_unwind,test";
        command.env("CARGO_UNSTABLE_BUILD_STD", crates).env("PATH", "/usr/bin:/bin");
        command.current_dir(&places.root);
        command
    } else {
        process::cargo(places)
    };
    command.args(["test", "--package", "lilims-quant", "--lib", "--target", TARGET]);
    command.env("CARGO_TARGET_DIR", places.target.join("arm"));
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    let runner = format!("qemu-aarch64-static -cpu {processor} -L /usr/aarch64-linux-gnu");
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    // The tests fail where this is not the best instruction set that they find.
    command.env("LILIMS_TEST_ISA", isa).env_remove("LILIMS_ISA");
    command
}
