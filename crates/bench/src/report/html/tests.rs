use crate::report::finish::tests::document;
use crate::report::sample::tests::sample;
use crate::report::sample::{Failure, Kind, Outcome};
use crate::report::totals::{Goals, Totals};

fn page(targets: usize) -> String {
    let mut totals = Totals::new(targets, Goals::default());
    for number in 0..60 {
        for target in 0..targets {
            totals.add(&sample(target, number, 100 + number % 7, &[20; 30]));
        }
    }
    let mut failed = sample(0, 99, 1, &[]);
    let message = "<script>alert('canary')</script>".to_owned();
    failed.outcome = Outcome::Failed(Failure { kind: Kind::Status(500), message });
    totals.add(&failed);
    document(&totals, targets).html()
}

#[test]
fn text_from_outside_is_escaped() {
    let page = page(2);
    assert!(page.contains("&lt;script&gt;alert(&#39;canary&#39;)&lt;/script&gt;") && !page.contains("<script"));
    assert!(page.contains("model &lt;b&gt;gemma&lt;/b&gt;") && !page.contains("<b>gemma"));
    assert!(!page.contains("key=canary"));
}

#[test]
fn the_page_is_self_contained() {
    let page = page(1);
    for outside in ["src=", "href=", "url(", "@import", "<link", "fetch("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn every_element_is_closed() {
    for page in [page(1), page(2), document(&Totals::new(1, Goals::default()), 1).html()] {
        let mut open: Vec<&str> = Vec::new();
        for tag in page.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').expect("a tag ends");
            let name = tag.split([' ', '\n']).next().unwrap();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if tag.ends_with('/') || ["!doctype", "meta"].contains(&name) => {}
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}

#[test]
fn no_number_is_missing() {
    let empty = document(&Totals::new(2, Goals::default()), 2).html();
    for page in [page(1), page(2), empty] {
        assert!(!page.contains("NaN") && !page.contains("inf") && !page.contains("null"));
    }
}

#[test]
fn with_two_targets_both_are_drawn_and_compared() {
    let page = page(2);
    for part in ["line a", "line b", "dots a", "dots b", "wait a", "wait b", "Difference", "127.0.0.1:9000"] {
        assert!(page.contains(part), "{part}");
    }
}
