//! The `undertone` command: one file a subcommand under `cli/`.

mod cli;

// glibc gives every large tensor back to the kernel and fetches it anew; training spends up to 40 % of its time on that.
#[cfg(feature = "train")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
