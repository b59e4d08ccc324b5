//! The program: everything is in the library.

use trundle::cli::{self, ExitCode};

fn main() -> ExitCode {
    cli::main()
}
