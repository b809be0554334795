//! Runs the tests of `lilims-quant` on emulated Arm processors, one for each set of Arm kernels.
//!
//! qemu is set up on Debian and Ubuntu on x86-64 only and the step is skipped elsewhere. An Arm
//! machine runs its own kernels in the normal tests.

use std::path::Path;
use std::process::Command;

use crate::paths::Paths;
use crate::process;
use crate::setup::wasm::{DEBIAN_RUSTC, has_target, use_debian_rust};

/// The target triple of the emulated programs.
pub(crate) const TARGET: &str = "aarch64-unknown-linux-gnu";

/// The emulated processors, and the best instruction set of each.
pub(crate) const PROCESSORS: [(&str, &str); 3] =
    [("max", "neon-i8mm"), ("cortex-a76", "neon-dotprod"), ("cortex-a53", "neon")];

/// The arguments to `cargo` for the tests of the kernels with the standard library's checks of unsafe
/// code, which the other tests leave out for their time.
pub(crate) const CHECKED_KERNEL_TESTS: [&str; 6] = [
    "test",
    "--package",
    "lilims-quant",
    "--lib",
    "--config",
    "profile.dev.package.lilims-quant.debug-assertions=true",
];

/// Whether the emulator and its compiler can be set up on this machine.
pub(crate) fn is_possible() -> bool {
    cfg!(all(target_os = "linux", target_arch = "x86_64"))
        && Path::new("/etc/debian_version").exists()
}

/// Whether the target needs Debian's compiler.
pub(crate) fn needs_debian_rust() -> bool {
    !has_target("rustc", TARGET)
}

/// `cargo test` for the kernels on a processor; fails unless `isa` is its best instruction set.
pub(crate) fn test_command(paths: &Paths, processor: &str, isa: &str) -> Command {
    let mut command = if needs_debian_rust() {
        let mut command = Command::new(Path::new(DEBIAN_RUSTC).with_file_name("cargo"));
        use_debian_rust(&mut command);
        let crates = "std,panic_abort,panic_unwind,test";
        command.env("CARGO_UNSTABLE_BUILD_STD", crates).env("PATH", "/usr/bin:/bin");
        command.current_dir(&paths.root);
        command
    } else {
        process::cargo(paths)
    };
    command.args(CHECKED_KERNEL_TESTS).args(["--target", TARGET]);
    command.env("CARGO_TARGET_DIR", paths.target.join("arm"));
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    let runner = format!("qemu-aarch64-static -cpu {processor} -L /usr/aarch64-linux-gnu");
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    // The tests fail if they detect another best instruction set.
    command.env("LILIMS_TEST_ISA", isa).env_remove("LILIMS_ISA");
    command
}
