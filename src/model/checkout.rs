//! The checkout that a program was built in, where it is run from there: its models and its ONNX Runtime are found without being named.

use std::path::Path;

/// What the folder of a checkout holds.
const SIGNS: [&str; 2] = ["Cargo.toml", ".git"];

/// The folder of the checkout that a program lies in: the nearest one above it with a `Cargo.toml` or a `.git`. None where there is none, and
/// where anybody may write to that folder, as in `/tmp`: what lies there may be anybody's.
pub fn of(program: &Path) -> Option<&Path> {
    let mut above = program.ancestors().skip(1);
    let folder = above.find(|folder| SIGNS.iter().any(|sign| folder.join(sign).exists()))?;
    (!is_anybodys(folder)).then_some(folder)
}

#[cfg(unix)]
fn is_anybodys(folder: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    // Writable by others than owner and group.
    folder.metadata().is_ok_and(|found| found.permissions().mode() & 0o002 != 0)
}

#[cfg(not(unix))]
fn is_anybodys(_folder: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn it_is_the_nearest_folder_above_and_no_other() {
        let outer = tempfile::tempdir().unwrap();
        let checkout = outer.path().join("checkout");
        for build in ["target/debug", "target/debug/deps", "target/x86_64-unknown-linux-gnu/release"] {
            let program = checkout.join(build).join("undertone");
            fs::create_dir_all(program.parent().unwrap()).unwrap();
            assert_eq!(of(&program), None, "nothing says that it is one");
        }
        fs::create_dir(outer.path().join(".git")).unwrap();
        let program = checkout.join("target/debug/deps/undertone");
        assert_eq!(of(&program), Some(outer.path()));
        fs::write(checkout.join("Cargo.toml"), "").unwrap();
        assert_eq!(of(&program), Some(&*checkout));
        // The program's own folder may be it.
        assert_eq!(of(&checkout.join("undertone")), Some(&*checkout));
    }

    #[test]
    #[cfg(unix)]
    fn where_anybody_may_write_there_is_none() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Cargo.toml"), "").unwrap();
        let program = folder.path().join("mine/undertone");
        fs::create_dir(program.parent().unwrap()).unwrap();
        assert_eq!(of(&program), Some(folder.path()));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(of(&program), None);
    }
}
