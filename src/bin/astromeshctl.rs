//! `astromeshctl`: the command line. All of it lives in [`astromesh::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    astromesh::cli::main()
}
