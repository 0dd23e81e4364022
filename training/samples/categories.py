"""The categories of the sample catalogue: their codes, names, and the words their products are sold with."""

from dataclasses import dataclass

__all__ = ["GENERIC_TITLES", "SAMPLE_CATEGORIES", "SampleCategory"]


@dataclass(frozen=True, slots=True)
class SampleCategory:
    """One category of drawn products.

    Attributes:
        code: category code, as in the catalogue files.
        drawing: name of the drawing in `training.samples.drawings.DRAWINGS`.
        name_fr: French name.
        name_en: English name.
        nouns: what a title calls the product.
        features: sentences that only a description of this category holds.
    """

    code: int
    drawing: str
    name_fr: str
    name_en: str
    nouns: tuple[str, ...]
    features: tuple[str, ...]


SAMPLE_CATEGORIES: tuple[SampleCategory, ...] = (
    SampleCategory(
        code=10,
        drawing="book",
        name_fr="Livres",
        name_en="Books",
        nouns=("Roman policier", "Livre de poche", "Roman historique", "Bande dessinée", "Guide de voyage"),
        features=(
            "Édition reliée de 320 pages.",
            "L'auteur signe un récit haletant.",
            "Chapitres illustrés.",
        ),
    ),
    SampleCategory(
        code=20,
        drawing="ball",
        name_fr="Ballons et jeux de plein air",
        name_en="Balls and outdoor games",
        nouns=("Ballon de football", "Ballon de basket", "Balle en mousse", "Ballon de plage"),
        features=("Se gonfle avec une pompe à aiguille.", "Rebond régulier sur herbe.", "Coutures collées."),
    ),
    SampleCategory(
        code=30,
        drawing="cup",
        name_fr="Tasses et mugs",
        name_en="Cups and mugs",
        nouns=("Mug céramique", "Tasse à café", "Tasse expresso", "Mug isotherme"),
        features=("Contenance 35 cl.", "Passe au lave-vaisselle.", "Anse large, porcelaine émaillée."),
    ),
    SampleCategory(
        code=40,
        drawing="lamp",
        name_fr="Luminaires",
        name_en="Lamps",
        nouns=("Lampe de chevet", "Lampe à poser", "Lampadaire trépied", "Lampe de bureau"),
        features=("Culot E27, ampoule non fournie.", "Abat-jour en coton.", "Lumière douce réglable."),
    ),
    SampleCategory(
        code=50,
        drawing="chair",
        name_fr="Chaises et fauteuils",
        name_en="Chairs",
        nouns=("Chaise scandinave", "Chaise de salle à manger", "Tabouret haut", "Chaise pliante"),
        features=("Assise à 45 cm du sol.", "Pieds en hêtre massif.", "Dossier ergonomique."),
    ),
    SampleCategory(
        code=60,
        drawing="cushion",
        name_fr="Coussins et linge de maison",
        name_en="Cushions and linen",
        nouns=("Housse de coussin", "Coussin brodé", "Taie d'oreiller", "Coussin déhoussable"),
        features=("Fermeture éclair invisible.", "Lavable à 30 degrés.", "Garnissage en ouate."),
    ),
    SampleCategory(
        code=70,
        drawing="gamepad",
        name_fr="Manettes et accessoires de jeu",
        name_en="Game controllers",
        nouns=("Manette sans fil", "Manette filaire", "Joystick rétro", "Contrôleur de jeu"),
        features=("Compatible console et PC.", "Vibration double moteur.", "Gâchettes analogiques."),
    ),
    SampleCategory(
        code=80,
        drawing="pool",
        name_fr="Piscines et accessoires",
        name_en="Pools and accessories",
        nouns=("Piscine gonflable", "Piscine tubulaire", "Bâche à bulles", "Bassin pour enfants"),
        features=("Pompe de filtration comprise.", "Liner épais anti-UV.", "Contenance 2400 litres."),
    ),
    SampleCategory(
        code=90,
        drawing="car",
        name_fr="Voitures miniatures",
        name_en="Model cars",
        nouns=(
            "Voiture miniature",
            "Coupé de collection 1/43",
            "Camionnette en métal",
            "Voiture radiocommandée",
        ),
        features=("Échelle 1/43, portes ouvrantes.", "Carrosserie moulée sous pression.", "Roues libres."),
    ),
)

# Words that every category shares, so that only the picture can tell such products apart.
GENERIC_TITLES: tuple[str, ...] = (
    "Article neuf, livraison rapide",
    "Idée cadeau anniversaire",
    "Nouveauté de la collection",
    "Produit d'occasion très bon état",
    "Déstockage, dernière pièce",
    "Offre spéciale, qualité garantie",
)
