//! Our keys and certificates: each box's, and keys that wait for their certificate.

use std::fs;
use std::path::{Path, PathBuf};

use holdfast_api::Role;
use holdfast_provisioning::authority::Authority;
use holdfast_provisioning::certificate::authority_id;
use holdfast_provisioning::context::Context;
use holdfast_provisioning::files::remove;
use holdfast_provisioning::tls::TlsKey;
use holdfast_types::P256Public;
use rand_core::OsRng;
use zeroize::Zeroizing;

use super::{Home, keep, read};
use crate::exit::Failure;
use crate::files::{self, make_private_dir};
use crate::world::now;

impl Home {
    /// Makes a key and a certificate of ours for a box, and gives their paths.
    pub(crate) fn make_client(&self, context: &str, authority: &Authority) -> Result<(PathBuf, PathBuf), Failure> {
        let key = TlsKey::random(&mut OsRng);
        let who =
            std::env::var("USER").ok().filter(|user| (1..=64).contains(&user.len())).unwrap_or("owner".to_owned());
        let certificate = authority
            .issue_client(&who, Role::Admin, &key.public(), now(), &mut OsRng)
            .map_err(|err| Failure::because("cannot make the client certificate", err))?;
        self.keep_client(context, &authority.public(), &key, &certificate)
    }

    /// Keeps a key and its certificate by this authority for a box, and gives their paths.
    pub(crate) fn keep_client(
        &self,
        context: &str,
        authority: &P256Public,
        key: &TlsKey,
        certificate: &[u8],
    ) -> Result<(PathBuf, PathBuf), Failure> {
        let paths = self.client_paths(context, authority);
        make_private_dir(&self.path_of(Path::new(CLIENTS)))?;
        // The key first: a certificate without its key is worth nothing.
        self.keep_key(&paths.1, key)?;
        keep(&self.path_of(&paths.0), certificate)?;
        Ok(paths)
    }

    /// Where the certificate and the key for a box are, while it belongs to this authority.
    pub(crate) fn client_paths(&self, context: &str, authority: &P256Public) -> (PathBuf, PathBuf) {
        let (dir, name) = (Path::new(CLIENTS), format!("{context}-{}", authority_id(authority)));
        (dir.join(format!("{name}.der")), dir.join(format!("{name}.key")))
    }

    /// Removes our key and certificate for a box that is known no more.
    pub(crate) fn forget_client(&self, context: &Context) -> Result<(), Failure> {
        for path in [&context.client_certificate, &context.client_key] {
            remove(&self.path_of(path))
                .map_err(|err| Failure::because("the client certificate is not removed", err))?;
        }
        Ok(())
    }

    /// The key to be certified under this name: a context's, one that was made for an earlier request, or a new one.
    pub(crate) fn requested_key(&self, name: &str) -> Result<TlsKey, Failure> {
        if let Ok(context) = self.contexts()?.get(name) {
            return self.read_key(&self.path_of(&context.client_key));
        }
        let path = Path::new(REQUESTS).join(format!("{name}.key"));
        if self.path_of(&path).exists() {
            return self.read_key(&self.path_of(&path));
        }
        let key = TlsKey::random(&mut OsRng);
        make_private_dir(&self.path_of(Path::new(REQUESTS)))?;
        self.keep_key(&path, &key)?;
        Ok(key)
    }

    /// The secret key of a certificate: in this file, or one that was made here.
    pub(crate) fn key_of_certificate(&self, public: &P256Public, file: Option<&Path>) -> Result<TlsKey, Failure> {
        if let Some(file) = file {
            let bytes = files::read(file, super::FILE_BYTES_MAX)?;
            let key = key_of(&bytes, file)?;
            if key.public() != *public {
                let why = format!("{} is the key of another certificate than the one in the file", file.display());
                return Err(Failure::unfit(why));
            }
            return Ok(key);
        }
        for path in self.keys()? {
            // One that cannot be read is not the one that is looked for, or is said where it is used.
            if let Ok(key) = self.read_key(&path)
                && key.public() == *public
            {
                return Ok(key);
            }
        }
        Err(Failure::unfit(
            "the key of this certificate is not here: add it on the machine where holdfast context request was run, or give \
             the key that came with it by --key",
        ))
    }

    /// Removes the keys that waited for this certificate; those of contexts stay.
    pub(crate) fn forget_request(&self, public: &P256Public) -> Result<(), Failure> {
        for path in keys_in(&self.path_of(Path::new(REQUESTS)))? {
            if self.read_key(&path).is_ok_and(|key| key.public() == *public) {
                remove(&path).map_err(|err| Failure::because("a key that was copied is not removed", err))?;
            }
        }
        Ok(())
    }

    /// Every secret key that is kept here.
    fn keys(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut paths = keys_in(&self.path_of(Path::new(REQUESTS)))?;
        paths.extend(keys_in(&self.path_of(Path::new(CLIENTS)))?);
        Ok(paths)
    }

    pub(super) fn read_key(&self, path: &Path) -> Result<TlsKey, Failure> {
        let bytes = read(path)?.map(Zeroizing::new).ok_or_else(|| Failure::NotPaired {
            why: format!("the client key {} is gone: ask for another certificate, or pair anew", path.display()),
        })?;
        key_of(&bytes, path)
    }

    fn keep_key(&self, path: &Path, key: &TlsKey) -> Result<(), Failure> {
        let pem = key.to_pem().map_err(|err| Failure::because("cannot write the client key", err))?;
        keep(&self.path_of(path), pem.as_bytes())
    }
}

fn key_of(bytes: &[u8], path: &Path) -> Result<TlsKey, Failure> {
    let because = |err: Box<dyn std::error::Error + Send + Sync>| {
        Failure::because(format!("{} is no client key", path.display()), err)
    };
    let pem = std::str::from_utf8(bytes).map_err(|err| because(err.into()))?;
    TlsKey::from_pem(pem).map_err(|err| because(err.into()))
}

/// The keys in a folder, which need not be there; a folder of ours never has more than the contexts have names.
fn keys_in(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match fs::read_dir(dir) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Failure::read(dir))?,
    };
    let mut paths = Vec::new();
    for entry in entries.take(KEYS_MAX) {
        let path = entry.map_err(Failure::read(dir))?.path();
        if path.extension().is_some_and(|extension| extension == "key") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

const CLIENTS: &str = "clients";
const REQUESTS: &str = "requests";
/// Two files for each of a thousand boxes, and as many again.
const KEYS_MAX: usize = 4_000;
