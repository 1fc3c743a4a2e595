//! The expiry of the gateway's own certificate is a metric, and a warning in time.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair};

use crate::support::child::{Child, Plan};

const DAY: u64 = 24 * 60 * 60;
const EXPIRY: &str = "tokenway_certificate_expiry_timestamp_seconds";

/// Replaces the certificate by one for `name` that expires in so many days. Its expiry in seconds since 1970.
fn replace(child: &Child, name: &str, days: u64) -> u64 {
    let expiry = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + days * DAY + DAY / 2;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned(), "localhost".to_owned()]).unwrap();
    params.not_after = (UNIX_EPOCH + Duration::from_secs(expiry)).into();
    fs::write(child.path("leaf.key"), key.serialize_pem()).unwrap();
    fs::write(child.path("leaf.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    expiry
}

#[tokio::test]
async fn the_expiry_of_the_certificate_that_is_served_is_a_metric_and_a_warning_from_fourteen_days_before() {
    let child = Child::start(Plan::default()).await;
    let warnings =
        || child.server.output().iter().filter(|line| line.contains("server.certificate expires in")).count();
    let shown = async |name: &str| child.metrics().await.sum(EXPIRY, &[("name", name)]);
    assert!(shown("localhost").await > 0.0);
    for (reloads, (name, days, warned)) in [("soon.example", 13, 1), ("later.example", 15, 1)].into_iter().enumerate() {
        let expiry = replace(&child, name, days);
        child.server.signal("HUP");
        child.until(|now| now.sum("tokenway_config_reloads_total", &[("result", "ok")]) > reloads as f64).await;
        assert_eq!(shown(name).await, expiry as f64);
        assert_eq!(child.metrics().await.labels(EXPIRY).len(), 1, "only the certificate that is served");
        assert_eq!(warnings(), warned, "{:?}", child.server.output());
    }
    assert!(child.server.output().iter().any(|line| line.contains("expires in 13 days, on ")));
}
