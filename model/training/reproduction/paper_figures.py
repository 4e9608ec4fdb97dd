"""What the paper's Tables 1 to 3 say, as printed; None where the paper has no figure. Figure 1 has no numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PaperFigures:
    """One row of one data set.

    Attributes:
        ppl: By the authors' estimator, which no correct one reproduces (model/README.md).
        neg_elbo: Nats a text.
        mi: Nats.
        au: Of 32.
    """

    ppl: float | None
    neg_elbo: float | None
    mi: float | None
    au: int | None


def _rows(text: str) -> dict[str, PaperFigures]:
    """One row a line: name | PPL -ELBO MI AU, a dash where nothing is printed."""
    rows = {}
    for line in text.strip().splitlines():
        name, figures = line.split("|")
        ppl, neg_elbo, mi, au = (None if each == "-" else float(each) for each in figures.split())
        rows[name.strip()] = PaperFigures(ppl, neg_elbo, mi, None if au is None else int(au))
    return rows


TABLE_1 = {
    "yelp": _rows("""
        AdaVAE             | 15.49 125.56 7.55 32
        w/ Fine-tuning     | 18.59 125.02 7.49 32
        w/ LG              | 31.01 129.17 3.32 32
        w/ LG; -PSA; +AtM  | 27.70 129.53 4.65 32
        w/ LG; +AtM        | 30.44 129.39 4.29 32
        +Prefix            | 14.96 124.13 6.55 32
        w/ parallel_attn   | 16.32 125.91 7.57 32
        w/ sequential_attn | 17.98 127.33 7.55 32
    """),
    "yahoo": _rows("""
        AdaVAE             | 14.23 121.40 7.49 32
        w/ Fine-tuning     | 15.57 121.05 7.52 32
        w/ LG              | 19.64 123.16 2.32 32
        w/ LG; -PSA; +AtM  | 20.09 121.92 3.61 32
        w/ LG; +AtM        | 22.54 122.19 4.36 32
        +Prefix            | 15.17 120.89 3.70 32
        w/ parallel_attn   | 15.22 122.22 7.40 32
        w/ sequential_attn | 15.05 121.69 7.47 32
    """),
}

TABLE_2 = {
    "ptb": _rows("""
        M. A.           | 101.40 101.28 0.00 0
        C. A.           | 108.81 102.81 1.27 5
        SA-VAE          | - - - -
        Aggressive      | 99.83 101.19 0.83 4
        AE-BP           | 96.86 102.41 5.31 32
        GPT-2           | 24.23 - - -
        LSTM-LM         | 100.47 101.04 - -
        T5 VAE          | 57.69 101.17 - 11
        Optimus 0.05    | 23.58 91.31 3.78 32
        Optimus 0.10    | 23.66 91.60 4.29 32
        Optimus 0.25    | 24.34 93.18 5.98 32
        Optimus 0.50    | 26.69 96.82 7.64 32
        Optimus 1.00    | 35.53 77.65 8.18 32
        AdaVAE 0.05     | 23.18 89.27 1.21 32
        AdaVAE 0.10     | 18.94 88.50 2.14 32
        AdaVAE 0.25     | 11.97 89.52 5.54 32
        AdaVAE 0.50     | 12.77 99.46 7.54 32
        AdaVAE 0.75     | 27.98 110.35 7.82 32
    """),
    "yelp": _rows("""
        M. A.           | 40.39 357.76 0.13 1
        C. A.           | - - - -
        SA-VAE          | - 355.90 1.70 8
        Aggressive      | 39.84 328.40 2.16 12
        AE-BP           | 47.97 - 7.89 32
        GPT-2           | 23.40 - - -
        LSTM-LM         | 42.60 358.10 - -
        T5 VAE          | 53.05 166.15 5.55 10
        Optimus 0.05    | 21.99 337.41 2.54 32
        Optimus 0.10    | 21.99 337.61 2.87 32
        Optimus 0.25    | 22.20 340.03 5.31 32
        Optimus 0.50    | 22.79 344.10 7.67 32
        Optimus 1.00    | 24.59 353.67 9.13 32
        AdaVAE 0.05     | 31.22 115.74 1.07 32
        AdaVAE 0.10     | 27.87 116.66 2.21 32
        AdaVAE 0.25     | 18.21 116.62 6.02 32
        AdaVAE 0.50     | 15.49 125.56 7.55 32
        AdaVAE 0.75     | 35.92 139.46 7.62 32
    """),
    "yahoo": _rows("""
        M. A.           | 61.21 328.80 0.00 0
        C. A.           | 66.93 332.68 2.77 4
        SA-VAE          | 60.40 327.20 2.70 10
        Aggressive      | 59.77 328.40 2.90 19
        AE-BP           | 59.28 329.31 8.08 32
        GPT-2           | 22.00 - - -
        LSTM-LM         | 60.75 328.00 - -
        T5 VAE          | 54.40 140.57 5.43 28
        Optimus 0.05    | 22.34 282.70 5.34 32
        Optimus 0.10    | 22.56 289.88 5.80 32
        Optimus 0.25    | 22.63 290.69 7.42 32
        Optimus 0.50    | 23.11 293.34 8.85 32
        Optimus 1.00    | 24.92 301.21 9.18 32
        AdaVAE 0.05     | 26.53 109.69 1.20 32
        AdaVAE 0.10     | 23.69 110.21 2.17 32
        AdaVAE 0.25     | 16.04 112.39 5.88 32
        AdaVAE 0.50     | 14.23 121.40 7.49 32
        AdaVAE 0.75     | 31.01 136.06 7.65 32
    """),
}


@dataclass(frozen=True, slots=True)
class PaperAccuracy:
    """One row of Table 3 on one data set.

    Attributes:
        accuracy: 0 to 1.
        is_at_most: Whether the paper prints it as an upper bound, read off a figure of Li et al. 2020.
    """

    accuracy: float
    is_at_most: bool = False


def _accuracies(text: str) -> dict[str, dict[str, PaperAccuracy]]:
    """One row a line: name | WNLI YELP SST-2, a dash where nothing is printed, ``<`` before an upper bound."""
    table: dict[str, dict[str, PaperAccuracy]] = {"wnli": {}, "yelp": {}, "sst2": {}}
    for line in text.strip().splitlines():
        name, figures = line.split("|")
        for dataset, figure in zip(table, figures.split(), strict=True):
            if figure != "-":
                table[dataset][name.strip()] = PaperAccuracy(float(figure.lstrip("<")), figure.startswith("<"))
    return table


TABLE_3 = _accuracies("""
    BERT, features             | 0.577 <0.88 0.731
    Optimus (VAE), features    | 0.563 <0.92 0.789
    Optimus (AE), features     | 0.620 - 0.788
    BERT, fine-tuning          | 0.544 0.984 0.923
    Optimus (VAE), fine-tuning | 0.563 <0.98 0.924
    AdaVAE, fine-tuning        | 0.586 0.968 0.860
    BERT, sigma 128            | 0.524 0.965 0.902
    BERT, sigma 512            | 0.531 0.973 0.911
    AdaVAE, sigma 128          | 0.563 0.966 0.853
    AdaVAE, sigma 512          | 0.589 0.961 0.840
""")

TABLE_3_SHARES = {
    "BERT, fine-tuning": 100.0,
    "Optimus (VAE), fine-tuning": 100.0,
    "AdaVAE, fine-tuning": 100.0,
    "BERT, sigma 128": 4.41,
    "BERT, sigma 512": 17.49,
    "AdaVAE, sigma 128": 2.90,
    "AdaVAE, sigma 512": 7.82,
}
"""#params of Table 3, per cent."""
