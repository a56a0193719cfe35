//! The certificate of the listener. Files that change are taken over while connections go on: those that stand keep theirs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not PEM, or cannot be read.
    #[error("{} cannot be used", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// There is no certificate in the file.
    #[error("{} has no certificate", .0.display())]
    NoCertificate(PathBuf),
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("the certificate and the key cannot be used")]
    Pair(#[from] rustls::Error),
}

/// A certificate with its chain and its key, as their files last were.
#[derive(Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
    /// Of which time the files are that were tried last.
    tried: Mutex<[Option<SystemTime>; 2]>,
}

impl Certificate {
    /// Reads the files (PEM; of the certificate also those of the authorities between it and a root).
    pub fn open(chain: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let tried = times(chain, key);
        let current = ArcSwap::from_pointee(read(chain, key)?);
        Ok(Arc::new(Self { chain: chain.to_owned(), key: key.to_owned(), current, tried: Mutex::new(tried) }))
    }

    /// Takes the files over if they have changed; true: they had. Those that cannot be used are tried again when they change
    /// again, and what was there before is used until then.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let now = times(&self.chain, &self.key);
        if now == *tried {
            return Ok(false);
        }
        *tried = now;
        self.current.store(Arc::new(read(&self.chain, &self.key)?));
        Ok(true)
    }

    /// TLS 1.2 and 1.3 with it, no certificates of clients.
    pub fn server_config(self: Arc<Self>) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(config.with_no_client_auth().with_cert_resolver(self))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn times(chain: &Path, key: &Path) -> [Option<SystemTime>; 2] {
    let time = |path: &Path| -> io::Result<SystemTime> { fs::metadata(path)?.modified() };
    [time(chain).ok(), time(key).ok()]
}

fn read(chain: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { path, source }
    };
    let certificates = CertificateDer::pem_file_iter(chain).map_err(unusable(chain))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(unusable(chain))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(chain.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(unusable(key))?;
    Ok(CertifiedKey::from_der(certificates, key, &ring::default_provider())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// A new certificate of its own, of this time.
        fn issue(&self, seconds: u64) -> Vec<u8> {
            let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
            self.write("chain.pem", &issued.cert.pem(), seconds);
            self.write("key.pem", &issued.signing_key.serialize_pem(), seconds);
            issued.cert.der().to_vec()
        }

        fn write(&self, name: &str, text: &str, seconds: u64) {
            fs::write(self.path(name), text).expect("written");
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            let file = fs::File::options().write(true).open(self.path(name)).expect("there");
            file.set_modified(time).expect("its time is set");
        }

        fn open(&self) -> Result<Arc<Certificate>, TlsError> {
            Certificate::open(&self.path("chain.pem"), &self.path("key.pem"))
        }
    }

    fn in_use(certificate: &Certificate) -> Vec<u8> {
        certificate.current.load().cert[0].to_vec()
    }

    #[test]
    fn a_new_pair_is_taken_over_and_a_broken_one_is_not() {
        let files = Files(tempfile::tempdir().expect("temporary directory"));
        let first = files.issue(1);
        let certificate = files.open().expect("a pair");
        assert_eq!(in_use(&certificate), first);
        assert!(!certificate.reload().expect("nothing to do"));
        let second = files.issue(2);
        assert!(certificate.reload().expect("a pair"));
        assert_eq!(in_use(&certificate), second);
        // the key of another certificate
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        files.write("key.pem", &other.signing_key.serialize_pem(), 3);
        assert!(matches!(certificate.reload(), Err(TlsError::Pair(_))));
        assert!(!certificate.reload().expect("told once"));
        assert_eq!(in_use(&certificate), second);
        let fourth = files.issue(4);
        assert!(certificate.reload().expect("a pair"));
        assert_eq!(in_use(&certificate), fourth);
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let files = Files(tempfile::tempdir().expect("temporary directory"));
        assert!(matches!(files.open(), Err(TlsError::Pem { .. })), "no files");
        files.issue(1);
        files.write("chain.pem", "", 2);
        assert!(matches!(files.open(), Err(TlsError::NoCertificate(_))));
        files.issue(3);
        files.write("key.pem", "no key", 4);
        assert!(matches!(files.open(), Err(TlsError::Pem { .. })));
    }
}
