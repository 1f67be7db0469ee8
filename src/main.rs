//! The `causeway` program.

fn main() -> std::process::ExitCode {
    causeway::cli::run(std::env::args_os())
}
