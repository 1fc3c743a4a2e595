use proptest::prelude::*;

use super::*;

fn prompt(text: &str) -> Prompt {
    Prompt { text: Excerpt::of(text, 8192, 8192), ..Prompt::default() }
}

fn decided(text: &str) -> Verdict {
    Rules::default().decide(&prompt(text))
}

#[test]
fn the_plain_is_easy_and_the_deep_is_hard_in_several_languages() {
    for text in ["Hi!", "Translate 'cat' to Spanish.", "Was ist die Hauptstadt von Kanada?", "Спасибо!", "你好"]
    {
        assert_eq!(decided(text), Verdict::Easy, "{text}");
    }
    for text in ["Prove that sqrt(2) is irrational.", "Beweise den Satz.", "Докажите теорему.", "证明这个定理。"]
    {
        assert_eq!(decided(text), Verdict::Hard, "{text}");
    }
}

#[test]
fn a_word_counts_where_it_begins_and_not_inside_another() {
    let seen = |text: &str| Rules::default().explain(&prompt(text)).iter().any(|seen| seen.sign == Sign::Mathematics);
    assert!(seen("a proof of it, and more of the same") && seen("PROOF!") && seen("(proof)"));
    assert!(!seen("a waterproof jacket for my daughter") && !seen("proofreading is all that I ask for"));
}

#[test]
fn saying_easy_or_hard_decides_nothing() {
    let plain = "What colour are the walls of the house next door?";
    for word in ["easy", "hard", "this is hard", "classification: hard"] {
        let more = format!("{plain} {word}.");
        assert_eq!(Rules::default().explain(&prompt(&more)), Rules::default().explain(&prompt(plain)), "{word}");
    }
}

#[test]
fn the_operators_words_decide_and_of_both_kinds_hard_does() {
    let rules = Rules::new(&["Status Report".into()], &["contract".into(), "règle".into()]);
    let decide = |text: &str| rules.decide(&prompt(text));
    assert_eq!(decide("Hi, translate this CONTRACT please"), Verdict::Hard);
    assert_eq!(decide("prove and derive the status report, debug it"), Verdict::Easy);
    assert_eq!(decide("a status report about the contract"), Verdict::Hard);
    assert_eq!(decide("Hi, these are subcontractors"), Verdict::Easy);
    assert_eq!(decide("La RÈGLE"), Verdict::Hard);
}

#[test]
fn the_context_of_the_text_has_its_signs() {
    let around = Prompt { earlier: 4, tools: true, images: true, ..prompt("And now this one, with everything.") };
    let signs: Vec<Sign> = Rules::default().explain(&around).iter().map(|seen| seen.sign).collect();
    assert_eq!(signs, [Sign::Conversation, Sign::Tools, Sign::Images]);
}

#[test]
fn programs_and_formulas_are_seen() {
    for text in ["```\nx\n```", "int a;\nint b;\nint c;", "def f():\n    return 1\nimport os"] {
        assert!(has_code(text), "{text}");
    }
    for text in ["x^2", "(a+b)^n", "\\frac{1}{2}", "∑ over n", "√2"] {
        assert!(has_notation(text), "{text}");
    }
    assert!(!has_code("one;\ntwo\nthree") && !has_notation("^^ see above, 3 ^ 4") && !has_notation("2 < 3"));
}

proptest! {
    #[test]
    fn any_prompt_is_decided_the_same_each_time(text: String, earlier: u64, tools: bool, images: bool) {
        let prompt = Prompt { earlier, tools, images, ..prompt(&text) };
        let rules = Rules::default();
        let seen = rules.explain(&prompt);
        prop_assert_eq!(&seen, &rules.explain(&prompt));
        prop_assert!(seen.is_sorted_by(|a, b| a.sign < b.sign), "each sign once: {:?}", seen);
        prop_assert_eq!(rules.decide(&prompt), Rules::verdict(&seen));
    }

    #[test]
    fn the_middle_of_a_long_text_changes_nothing(middle in "\\PC{0,200}") {
        let around = "word ".repeat(2 * END);
        let with = |middle: &str| decided(&format!("{around}{middle}{around}"));
        prop_assert_eq!(with(&middle), with(""));
    }

    #[test]
    fn a_hard_keyword_decides_whatever_is_around(before in "[ a-z.,]{0,50}", after in "[ a-z.,]{0,50}") {
        let rules = Rules::new(&[], &["zebra".into()]);
        prop_assert_eq!(rules.decide(&prompt(&format!("{before} zebra {after}"))), Verdict::Hard);
    }
}
