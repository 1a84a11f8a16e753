//! Finding and loading ONNX Runtime's shared library, once a process.

use std::{
    env,
    env::consts::{DLL_PREFIX, DLL_SUFFIX},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use ort::{environment::Environment, logging::LogLevel};

use super::Error;
use crate::model::checkout;

/// Names the library where neither the caller nor the configuration does; ONNX Runtime's own bindings read the same variable.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// ONNX Runtime, loaded.
#[derive(Debug)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
}

static LOADED: OnceLock<Runtime> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

impl Runtime {
    /// Loads the library, or gives the one that is loaded.
    ///
    /// It is looked for at `library` alone if told, else at ORT_DYLIB_PATH alone if set, else beside the executable, in `lib`
    /// beside the executable's folder, and in `.ort` of the [checkout] that the executable lies in, where `make setup` puts it. A failed
    /// try may be repeated; after a successful one, another library is an error.
    pub fn load(library: Option<&Path>) -> Result<&'static Self, Error> {
        let _once = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = LOADED.get() {
            return match library {
                Some(asked) if !same(asked, &loaded.library) => {
                    Err(Error::OtherLibrary { loaded: loaded.library.clone(), asked: asked.to_owned() })
                }
                _ => Ok(loaded),
            };
        }
        let variable = env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let executable = env::current_exe().ok().and_then(|path| path.canonicalize().ok());
        let library = find(library, variable.as_deref(), executable.as_deref())?;
        let environment = open(&library)?;
        Ok(LOADED.get_or_init(|| Self { environment, library }))
    }

    /// Where it was loaded from.
    pub fn library(&self) -> &Path {
        &self.library
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// What the library is called on this system.
pub(super) fn library_name() -> String {
    format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}")
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn find(asked: Option<&Path>, variable: Option<&Path>, executable: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(path) = asked.or(variable) {
        // Made absolute, because a relative one would be looked for beside the executable first.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        return if path.is_file() { Ok(path) } else { Err(Error::NoLibrary { looked_for: vec![path] }) };
    }
    let mut looked_for = Vec::new();
    if let Some(folder) = executable.and_then(Path::parent) {
        looked_for.push(folder.join(library_name()));
        looked_for.extend(folder.parent().map(|above| above.join("lib").join(library_name())));
    }
    let checkout = executable.and_then(checkout::of);
    looked_for.extend(checkout.map(|checkout| checkout.join(".ort").join(library_name())));
    match looked_for.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(Error::NoLibrary { looked_for }),
    }
}

fn open(library: &Path) -> Result<Environment, Error> {
    let builder = ort::init_from(library).map_err(|error| Error::Library { problem: error.to_string() })?;
    let environment = builder
        .with_name("undertone")
        // No product that hears calls may report on them to its library's maker.
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|error| Error::Library { problem: format!("{}: {error}", library.display()) })?;
    environment.set_log_level(LogLevel::Warning);
    Ok(environment)
}

fn log(level: LogLevel, _category: &str, _id: &str, location: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error => tracing::error!(location, "onnx runtime: {message}"),
        LogLevel::Warning => tracing::warn!(location, "onnx runtime: {message}"),
        LogLevel::Info | LogLevel::Verbose => tracing::debug!(location, "onnx runtime: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_path_that_was_told_is_the_only_place() {
        let folder = tempfile::tempdir().unwrap();
        let beside = folder.path().join(library_name());
        fs::write(&beside, "").unwrap();
        let executable = folder.path().join("undertone");
        let absent = folder.path().join("absent.so");
        for (asked, variable) in [(Some(&*absent), None), (None, Some(&*absent)), (Some(&*absent), Some(&*beside))] {
            let error = find(asked, variable, Some(&executable)).unwrap_err();
            assert!(matches!(&error, Error::NoLibrary { looked_for } if *looked_for == [absent.clone()]), "{error}");
            let text = error.to_string();
            assert!(
                ["make setup", "ORT_DYLIB_PATH", "onnxruntime.library"].iter().all(|way| text.contains(way)),
                "{text}"
            );
        }
        assert_eq!(find(Some(&beside), Some(&absent), None).unwrap(), beside);
        assert_eq!(find(None, Some(&beside), None).unwrap(), beside);
    }

    #[test]
    fn an_installed_binary_finds_it_beside_itself_then_in_lib_and_a_checkout_in_dot_ort() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("target").join("bin");
        let places = [root.path().join(".ort"), root.path().join("target").join("lib"), bin.clone()];
        let executable = bin.join("undertone");
        fs::write(root.path().join("Cargo.toml"), "").unwrap();
        let error = find(None, None, Some(&executable)).unwrap_err();
        assert!(
            matches!(&error, Error::NoLibrary { looked_for } if looked_for.len() == 3 && places.iter().all(|place| looked_for.contains(&place.join(library_name()))))
        );
        for place in places {
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join(library_name()), "").unwrap();
            assert_eq!(find(None, None, Some(&executable)).unwrap(), place.join(library_name()));
        }
    }

    #[test]
    fn what_is_not_onnx_runtime_is_an_error_and_the_next_try_may_succeed() {
        let folder = tempfile::tempdir().unwrap();
        let fake = folder.path().join(library_name());
        fs::write(&fake, "not a library").unwrap();
        let text = Runtime::load(Some(&fake)).unwrap_err().to_string();
        assert!(text.contains(&fake.display().to_string()), "{text}");
        let runtime = Runtime::load(None).unwrap();
        assert!(std::ptr::eq(runtime, Runtime::load(Some(runtime.library())).unwrap()));
        assert!(matches!(Runtime::load(Some(&fake)), Err(Error::OtherLibrary { .. })));
    }
}
