//! Tokenway: the edge gateway between browsers and LLM APIs.
//!
//! One streamed completion, in the order in which it happens; each step is a file.
//!
//! 1. **accept**: [`server::accept`] takes a connection, within its caps.
//! 2. **TLS and ALPN**: `server::connection` shakes hands and serves HTTP/2 or HTTP/1.1, behind `server::guard_io`.
//! 3. **CORS**: [`cors::decision`] decides from the head alone; [`gateway`] applies it to whatever comes out.
//! 4. **caller**: [`access`] finds who calls in the head: nothing below is done without a [`caller::Caller`].
//! 5. **head and body**: [`head`] refuses what is not for us; [`intake`] reads and checks the JSON.
//! 6. **route**: [`auto`] finds the model, by name or by what is asked; [`route::table`] those that are asked when it fails.
//! 7. **limits and budget**: [`limiter`] and [`budget`] take of what the caller may use; it is settled when the meter is.
//! 8. **cache**: [`cache`] tells a kept answer again, or lets requests share one that is coming in; else it goes on.
//! 9. **upstream, with fallback**: [`fallback`] asks one after another through [`upstream::client`], as [`upstream::standing`]
//!    advises.
//! 10. **events**: [`stream::framer`] cuts the upstream's bytes, [`chat::event`] says what an event means, [`stream::feed`]
//!     joins both.
//! 11. **relay**: [`stream::relay`] hands each event to the client's connection, and ends honestly.
//! 12. **meter**: [`stream::meter`] measures it all and settles once.
//!
//! The modules below stand in layer order: a file imports only from layers above its own in this list, and
//! `tests/it/layers` holds them to it.

// leaves: each room may import them, they import no room
pub mod address;
pub mod body;
pub mod bounded_table;
pub mod drain;
pub mod error;
pub mod media_type;
pub mod metrics;
pub mod models;
pub mod percent;
pub mod recent_map;
pub mod request_id;
pub mod telemetry;
// rooms, from the lowest
pub mod config;
pub mod redis;
pub mod spend;
pub mod auth;
pub mod limits;
pub mod upstream;
pub mod failover;
pub mod metering;
pub mod stream;
pub mod routing;
pub mod cache;
pub mod server;
pub mod gateway;
