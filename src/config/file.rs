//! The whole file as it is written: the sections that the rooms declare. Pure.

use settings::Field;

use super::{cors, log};
use crate::{auth, cache, failover, limits, models, redis, routing, server, spend, stream, upstream};

settings::section! {
    /// The configuration of Tokenway.
    #[renamed(streams => resume)]
    pub(super) struct File {
        [server]: server::settings::Written;
        [cors]: cors::Written;
        [stream]: stream::settings::Written;
        [resume]: stream::log::settings::Written;
        [upstreams]: Field<Vec<upstream::settings::Written>>, many;
        [models]: Field<Vec<models::settings::Written>>, many;
        [routing]: routing::settings::Written;
        [fallback]: failover::settings::Written;
        [access]: auth::settings::Written;
        [limits]: limits::settings::Written;
        [cost]: spend::settings::Written;
        [cache]: cache::settings::Written;
        [redis]: redis::settings::Written;
        [log]: log::Written;
    }
}
