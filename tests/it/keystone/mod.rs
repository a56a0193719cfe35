//! The strategy that asks Keystone, against one that does what it is told: each rule of the middleware, and what happens when
//! Keystone does not. (A real one: `e2e::keystone`.)

mod access;
mod api;
mod outage;
mod own_token;
pub mod stand_in;
mod tokens;
