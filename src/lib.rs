//! Tokenway: the edge gateway between browsers and LLM APIs.
//!
//! The path of one streamed completion, one line a stage:
//!
//! 1. accept: [`server::accept`] takes a connection within its limits; `server::connection` negotiates TLS and HTTP.
//! 2. handle: `gateway::handle` makes the [`cors::decision`] first, and applies it to the response last.
//! 3. admit: `gateway::admit` finds the caller by its credentials ([`auth`]), and takes its request and its concurrency permit
//!    ([`limits`]).
//! 4. read: `gateway::read` reads the body within its limits, and [`families`] parses it.
//! 5. plan: `gateway::plan` selects the model and the candidates for fallback ([`routing`], [`models`]).
//! 6. reserve: `gateway::reserve` reserves tokens and money ([`limits`], [`spend`]).
//! 7. source: `gateway::source` finds a cached or coalesced answer ([`cache`]), or asks an [`upstream`] with [`failover`].
//! 8. respond: `gateway::respond` decides when the head is sent; [`stream`] carries the events to the client or into a log.
//! 9. metering: [`metering`] measures the request, and settles it once.
//!
//! A leaf imports no room. A room imports leaves and the rooms above it in the list below. `tests/it/layers` checks both.

// leaves: each room may import them, they import no room
pub mod address;
pub mod body;
pub mod body_memory;
pub mod bounded_table;
pub mod descriptors;
pub mod drain;
pub mod error;
pub mod media_type;
pub mod metrics;
pub mod models;
pub mod offload;
pub mod percent;
pub mod price;
pub mod recent_map;
pub mod request_id;
pub mod supervise;
pub mod telemetry;
// rooms, from the lowest
pub mod redis;
pub mod spend;
pub mod auth;
pub mod limits;
pub mod upstream;
pub mod failover;
pub mod routing;
pub mod metering;
pub mod stream;
pub mod cache;
pub mod server;
pub mod config;
pub mod gateway;
