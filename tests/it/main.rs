//! One integration binary, a module per noun or promise.

mod api;
mod architecture;
mod contract;
mod crash;
mod decide;
mod drivers;
mod e2e;
mod external;
mod images;
mod keystone;
mod policy;
mod races;
mod received;
mod samples;
mod service;
mod store;
mod storm;

/// Gives rustls its cryptography before any test begins: reqwest makes no client without, not even one for plain HTTP, and
/// the library, which builds its own configuration of TLS, rightly sets nothing for the whole process.
#[used]
#[unsafe(link_section = ".init_array")]
static CRYPTOGRAPHY: extern "C" fn() = {
    extern "C" fn install() {
        // an error says that it is there already
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    install
};
