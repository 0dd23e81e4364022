"""How good the categories are, as far as that can be seen without labels, and with those that people give."""

from deploy.grafana.panels import (
    DEAD_LETTERS_NOW,
    NUMBER,
    PER_SECOND,
    SHARE,
    Dashboard,
    Panel,
    Query,
    Row,
    number,
    quantiles,
    ratio,
)

CONFIDENCES = "sum(rate(shelver_confidence_count{@}[~]))"
UNSURE = ratio('sum(rate(shelver_confidence_bucket{@, le="0.5"}[~]))', CONFIDENCES)

QUALITY = Dashboard(
    "shelver-quality",
    "Shelver / Quality",
    "Confidence, drift, corrections, dead letters, and the versions that score.",
    (
        Row(
            "Now",
            (
                number(
                    "Median confidence",
                    quantiles("shelver_confidence", 0.5)[0].expression,
                    SHARE,
                    "Probability of the assigned category, of half of the listings.",
                ),
                number(
                    "Unsure",
                    UNSURE,
                    SHARE,
                    "Share of listings whose category has a probability of at most .5.",
                ),
                number(
                    "Largest drift",
                    "max(shelver_drift_psi{@})",
                    NUMBER,
                    "Population stability index of the feature that has moved most since training: below .1 "
                    "nothing, above .25 a lot.",
                    limits=(0.1, 0.25),
                    alert="ShelverDrift",
                ),
                number(
                    "Corrected",
                    ratio(
                        'sum(increase(shelver_corrections_total{@, outcome="corrected"}[1h]))',
                        'sum(increase(shelver_corrections_total{@, outcome=~"confirmed|corrected"}[1h]))',
                    ),
                    SHARE,
                    "Share of the categories that people looked at in the last hour and changed.",
                    alert="ShelverAccuracyLow",
                ),
                DEAD_LETTERS_NOW,
                number(
                    "Versions refused",
                    'sum(shelver_model_refused{@, role="serving"})',
                    NUMBER,
                    "Workers that do not serve the version that is asked for.",
                    limits=(1, 1),
                    alert="ShelverModelRefused",
                ),
            ),
        ),
        Row(
            "Confidence",
            (
                Panel(
                    "Confidence",
                    "Probability of the assigned category. One that falls says that the listings have "
                    "become unlike those of training, or that a version is worse.",
                    SHARE,
                    quantiles("shelver_confidence", 0.1, 0.5, 0.9),
                    maximum=1.0,
                    alert="ShelverDrift",
                ),
                Panel(
                    "Sure and unsure",
                    "Share of listings by how probable their category is.",
                    SHARE,
                    (
                        Query(UNSURE, "at most .5"),
                        Query(
                            "1 - "
                            + ratio('sum(rate(shelver_confidence_bucket{@, le="0.9"}[~]))', CONFIDENCES),
                            "above .9",
                        ),
                    ),
                    maximum=1.0,
                ),
                Panel(
                    "Pictures",
                    "Wanted pictures, by what became of them: used, skipped by the cascade, or why the text "
                    "alone was classified.",
                    PER_SECOND,
                    (Query("sum by (outcome) (rate(shelver_images_total{@}[~])) > 0", "{{outcome}}"),),
                    is_stacked=True,
                ),
            ),
        ),
        Row(
            "Drift and corrections",
            (
                Panel(
                    "Drift",
                    "Population stability index against the version's own snapshot, of the worker that has "
                    "moved most. No line until a worker has seen 500 events.",
                    NUMBER,
                    (Query("max by (feature) (shelver_drift_psi{@})", "{{feature}}"),),
                    limits=(0.1, 0.25),
                    alert="ShelverDrift",
                ),
                Panel(
                    "Events behind the drift",
                    "Events in the window that is compared.",
                    NUMBER,
                    (Query("sum by (instance) (shelver_drift_events{@})", "{{instance}}"),),
                ),
                Panel(
                    "Corrections",
                    "Categories that people confirmed or corrected; unknown: no assignment was found.",
                    PER_SECOND,
                    (Query("sum by (outcome) (rate(shelver_corrections_total{@}[~]))", "{{outcome}}"),),
                    is_stacked=True,
                    alert="ShelverAccuracyLow",
                ),
                Panel(
                    "Accuracy where people looked",
                    "Of the latest looked-at listings of a category, the share that people left; the ten "
                    "worst at each time. A mean over workers in which each counts the same, however many "
                    "corrections it has read. People look at what is odd, so it is lower than the accuracy "
                    "of all.",
                    SHARE,
                    (
                        Query(
                            "bottomk(10, avg by (category) (shelver_corrected_accuracy_ratio{@}))",
                            "{{category}}",
                        ),
                    ),
                    maximum=1.0,
                    alert="ShelverAccuracyLow",
                ),
            ),
        ),
        Row(
            "Dead letters",
            (
                Panel(
                    "By stage",
                    "Where records fail: decode and validate is the sender's, prepare the listing's, "
                    "inference the model's.",
                    PER_SECOND,
                    (Query("sum by (stage) (rate(shelver_dead_letters_total{@}[~]))", "{{stage}}"),),
                    is_stacked=True,
                    alert="ShelverDeadLetterShare",
                ),
                Panel(
                    "By reason",
                    "Why they fail; only reasons that occur have a line.",
                    PER_SECOND,
                    (Query("sum by (reason) (rate(shelver_dead_letters_total{@}[~])) > 0", "{{reason}}"),),
                    is_stacked=True,
                    alert="ShelverDeadLetterShare",
                ),
            ),
        ),
        Row(
            "Versions",
            (
                Panel(
                    "What scores",
                    "Workers by the version that they serve. Two for longer than a reload takes: one of "
                    "them is refused somewhere.",
                    NUMBER,
                    (Query("count by (name, version) (shelver_model_info{@})", "{{name}}@{{version}}"),),
                    is_stacked=True,
                    alert="ShelverModelRefused",
                ),
                Panel(
                    "Reloads",
                    "Versions that took another's place or were refused, in the last hour.",
                    NUMBER,
                    (
                        Query(
                            "sum by (role, outcome) (increase(shelver_model_reloads_total{@}[1h]))",
                            "{{role}} {{outcome}}",
                        ),
                    ),
                    alert="ShelverModelRefused",
                ),
                Panel(
                    "Challenger agrees",
                    "Of the events that the shadow version scored too, the share that got the same category.",
                    SHARE,
                    (
                        Query(
                            ratio(
                                'sum(rate(shelver_shadow_events_total{@, outcome="same"}[~]))',
                                'sum(rate(shelver_shadow_events_total{@, outcome=~"same|different"}[~]))',
                            ),
                            "same category",
                        ),
                    ),
                    maximum=1.0,
                ),
                Panel(
                    "Challenger is surer by",
                    "Probability of the challenger's category less that of the assigned one.",
                    NUMBER,
                    quantiles("shelver_shadow_confidence_difference", 0.1, 0.5, 0.9),
                ),
            ),
        ),
    ),
)
