"""What a name suggests: its words, and the usual words for users, items, weights, times, names, texts, keys and more.

The words are those of a few languages; an unknown word only makes a judgement less sure.
"""

import re
from collections.abc import Collection, Iterable, Sequence


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# A word matches where it begins with one of these
ACTED_ON = _words(
    """rate rating review buy bought purchas order view watch click like love favo listen play read save bookmark wish
    cart visit borrow rent download subscrib enrol appl interact consum stream vote attend follow complet took swip saw
    seen kauf gekauft bestell bewert gesehen gelesen gehört ausgeliehen lieh achet achat commande compr vist leyo leíd
    booked ate buchung gebucht reserv"""
)
LINKED_BY = _words(
    """genre categor tag act direct produc wrot writ author creat made manufactur brand locat near similar relate cite
    citing reference subclass parent child type kind about mention work employ know friend skill requir belong contain
    part has have member connect publish compos perform gehört_zu"""
)
SMALL_LINK_WORDS = frozenset(_words("in is of at on to from with by am im aus von de en dans"))
USERS = _words(
    """user customer client member account reader viewer listener subscriber buyer shopper visitor consumer player
    student learner guest patron borrower reviewer rater kunde käufer nutzer benutzer leser mitglied besucher gast
    teilnehmer
    utilisateur acheteur usuario comprador usager lecteur userid friend follower followee followed following"""
)
PEOPLE = ("person", "people", "profile", "candidate", "patient", "employee", "persona", "personne", "contact")
ITEMS = _words(
    """movie film product item book article song track album course job video game recipe restaurant hotel post show
    series episode podcast event offer listing paper document news app artikel produkt buch lied kurs stelle rezept
    produit livre producto libro anime business venue poi title vacancy artist place"""
)
ENTITIES = _words(
    """genre categor tag brand author actor director writer composer compan country city language skill topic keyword
    subject publisher label color colour size type kind department warengruppe kategorie marke hersteller autor land
    stadt marque catégorie pays ville categoría marca país ciudad group award studio format license region state
    store shop address entit town village club"""
)
WEIGHTS = _words(
    """rating rate score star weight bewertung note sterne punkte grade vote preference strength quantity qty menge
    anzahl count plays times freq listens views clicks number amount cantidad quantité nota"""
)
COUNTS_OF_ACTS = _words(  # of weights: those that add up over several interactions
    """quantity qty menge anzahl count plays times freq listens views clicks number amount cantidad quantité hours
    minutes"""
)
PRICES = ("price", "preis", "cost", "total", "prix")
GRADES = _words("rating rate score star bewertung note sterne grade vote preference nota overall")
TIMES = _words(
    """time timestamp ts date at on when since created updated am datum zeit zeitpunkt seit fecha moment day unix epoch
    added"""
)
LATER_TIMES = _words("updat modif chang ship deliver required due paid expir end return")  # than the act itself
NAMES = _words(
    "title name titel label bezeichnung headline titre nom nombre título titulo caption subject username login"
)
TEXTS = _words(
    """description plot summary blurb abstract bio text content overview synopsis beschreibung tagline about body
    keywords tags genres topics details note notes comment résumé descripción zusammenfassung inhalt"""
)
ROLES = _words("contact job courtesy work position person employee professional honorific")  # a contactTitle
COMPANIES = _words("compan supplier vendor shipper publisher organi firm firma hersteller")
GATHERING = _words(  # what gathers several choices of one user; it neither chooses nor is chosen
    """order invoice basket session cart visit transaction receipt checkout purchase booking reservation bestellung
    rechnung warenkorb sitzung buchung beleg auftrag reservierung kassenbon quittung einkauf kaufvorgang commande
    facture panier réservation pedido factura reserva carrito compra recibo"""
)
DOCUMENTS = (*GATHERING, *_words("line bill shipment sale lineitem detail position lieferung lieferschein"))
_COMPOUNDS = _words(  # German words grow at their front, as a Kursbuchung does
    "bestellung rechnung buchung beleg auftrag aufträge reservierung warenkorb warenkörbe"
)
VECTORS = _words("vector embedding embed emb vec latent representation encoding")
AVAILABLE = _words(
    "available availability sellable published onsale enabled active vorrätig lieferbar verfügbar aktiv disponible"
)
UNAVAILABLE = _words(
    """discontinued unavailable archived deleted hidden inactive retired disabled withdrawn obsolete cancelled canceled
    soldout abgesagt ausverkauft gelöscht archiviert inaktiv vergriffen"""
)
KEYS = _words("id uuid guid urn uri key code sku isbn isbn13 asin ean gtin slug handle number nummer num nr no ref")
_KEY_ENDINGS = ("uuid", "id", "nummer", "nr", "code", "key", "urn")
_PLACES = _words(
    """city country town village region state province county district municipality suburb neighbourhood neighborhood
    place location address stadt land ville pays ciudad país"""
)
_CATEGORIES = _words(  # numbers called so are codes of categories
    """genre categor type kind occupation profession job industry segment cluster department status language country
    city region state town brand"""
)
_LIVES = _words("live lives lived living resides resident located location based born comes in from")
# what a catalogue computes from interactions
_COUNTED = frozenset(
    _words(
        """rating ratings rated score scores vote votes rank ranks ranking views viewed viewers downloads downloaded
        sales sold likes liked dislikes review reviews favorites favourites purchases purchased bought buyers orders
        stars clicks listens listeners streams plays hits followers subscribers impressions conversion conversions"""
    )
)
_IF_COUNTED = frozenset(  # the same, beside a word for counting
    _words(
        """view download sale like favorite favourite purchase click play stream user users customer customers reader
        readers"""
    )
)
_COUNTS = frozenset(_words("n num nb number count counts total avg average mean times sum"))
_STOCKED = _words("stock stocked reorder inventory backorder lager bestand")
_POPULAR = ("popular", "bestsell", "trending")
_STATED = frozenset(_words("age content parental energy price cost preis prix"))
_SENSITIVE = _words(
    """gender sex sexual age birth born dob ethnic race racial religio faith caste nationalit citizen disab handicap
    marital married income salary orientation political politics pregnan geschlecht anrede geburt jahrgang lebensalter
    familienstand konfession staatsangeh einkommen gehalt behinder naissance âge sexe sexo civil matrimon religión edad
    nacimiento nacionalidad revenu ingresos étnic"""
)
_SENSITIVE_FIRST = frozenset(["alter"])  # other words begin so, such as "alternative"
_SENSITIVE_ALONE = frozenset(["género", "genero"])  # beside other words they are those of books and films
# a person's name: these words in themselves, or one for a name beside one that says whose or which
_PERSON_NAMES = _words(
    """surname firstname lastname forename username login nickname fullname givenname familyname middlename vorname
    nachname familienname zuname rufname geburtsname benutzername prénom prenom apellido nomfamille"""
)
_CALLS = frozenset(["name", "names", "nom", "nombre", "nombres"])
_WHOSE = _words(
    """first last given family full middle second maiden user nick contact display screen birth legal preferred
    completo complet famille pila usuario utilisateur person people"""
)
_STREETS = _words("""street straße strasse address adresse anschrift hausn hausnummer rue direcci domicil""")
_STREETS_ALONE = frozenset(["str", "addr", "calle", "voie"])  # other words begin so
_POSTCODES = _words("postcode postal zip zipcode plz postleitzahl")
_PERSONAL = _words("password passwd pwd token secret salt email mail phone telephone mobile telefon fax ssn iban")


def split_words(name: str) -> list[str]:
    """The words of a name such as "ratedAt", "RATED_AT" or "rated-at", in lower case."""
    apart = re.sub(r"(?<=[a-z0-9ß-öø-ÿ])(?=[A-ZÀ-ÖØ-Þ])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return [word for word in re.split(r"[\W_]+", apart.lower()) if word]


def split_id(name: str) -> tuple[list[str], bool]:
    """The words of a name without a closing "id" or the like, and whether it had one: "userId" is (["user"], True)."""
    words = split_words(name)
    if not words:
        return [], False
    if words[-1] in KEYS:
        return words[:-1], True
    ending = next((ending for ending in _KEY_ENDINGS if words[-1].endswith(ending)), None)
    if ending is not None and len(words[-1]) > len(ending) + 2:
        return [*words[:-1], words[-1].removesuffix(ending)], True
    return words, False


def to_singulars(name: str) -> set[str]:
    """The singulars that a plural may have ("movies": movie, movi, movy); of several words, also those of the last."""
    found = set()
    words = split_words(name)
    for plural in {"_".join(words), *words[-1:]}:
        found |= {plural, plural.removesuffix("s"), plural.removesuffix("es"), re.sub("ies$", "y", plural)}
    return found


def to_singular(word: str, known: Collection[str] = ()) -> str:
    """The singular of one word in lower case: "genre" of "genres", "category" of "categories"; others stay.

    Args:
        word: the word.
        known: words that are there, of which the singular may be one.
    """
    if word in known or not word.endswith("s") or word.endswith(("ss", "us", "is", "series")):
        return word
    found = sorted((one for one in to_singulars(word) - {word} if one in known or is_known_word(one)), key=len)
    if found:
        return found[-1]
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-2] if word.endswith(("sses", "xes", "ches", "shes")) else word[:-1]


def is_known_word(word: str) -> bool:
    """Whether a word is a usual name for users, items or what items are linked to."""
    return word in {*USERS, *ITEMS, *ENTITIES}


def is_user_name(words: list[str]) -> bool:
    """Whether a name's last word is a usual one for users."""
    return bool(words) and words[-1].startswith(USERS)


def is_item_name(words: list[str]) -> bool:
    """Whether a name's last word is a usual one for items; a Buchung is no Buch."""
    return bool(words) and words[-1].startswith(ITEMS) and not is_document_name(words)


def is_entity_name(words: list[str]) -> bool:
    """Whether a name's last word is a usual one for what items are linked to."""
    return bool(words) and words[-1].startswith(ENTITIES)


def is_document_name(words: Sequence[str]) -> bool:
    """Whether a name's last word is a usual one for orders, sessions and the like, which stand between two things."""
    if not words:
        return False
    forms = to_singulars(words[-1]) | {words[-1].removesuffix(ending) for ending in ("en", "e", "n")}
    is_line = any(form.endswith("position") and form.startswith(("bestell", *GATHERING)) for form in forms)
    return is_line or bool(forms & {*DOCUMENTS}) or any(form.endswith(_COMPOUNDS) for form in forms)


def is_gathering_name(words: Sequence[str]) -> bool:
    """Whether one of the words is one for what gathers several choices of a user, such as an order."""
    gathering = (*GATHERING, "trip", "loan")
    return any(word.startswith(gathering) or word.removesuffix("en").endswith(_COMPOUNDS) for word in words)


def find_availability(name: str) -> bool | None:
    """Whether an item can be had where a property called so is true; None: it says nothing of that."""
    words = split_words(name)
    is_denied = bool({*words} & {"not", "no", "nicht", "non"})
    out = "out" in words and {"stock", "print", "sold"} & {*words}
    if out or {*words} & {*UNAVAILABLE}:
        return is_denied
    is_stock = words[-2:] == ["in", "stock"] and words[:-2] in ([], ["is"], ["not"])
    return not is_denied if is_stock or (words[-1:] and words[-1] in AVAILABLE) else None


def is_vector_name(name: str) -> bool:
    """Whether a name is a usual one for vectors that something computed."""
    return begins_with(split_words(name), VECTORS)


def is_weight_name(name: str) -> bool:
    """Whether a name is a usual one for the strength of an interaction."""
    return begins_with(split_words(name), WEIGHTS)


def is_person_name(name: str) -> bool:
    """Whether a property is a person's name or a part of it, in one of a few languages."""
    words = split_words(name)
    if words[-1:] and words[-1].startswith(_PERSON_NAMES):
        return True
    others = [word for word in words if word not in _CALLS and word not in SMALL_LINK_WORDS]
    return bool({*words} & _CALLS) and all(word.startswith((*_WHOSE, *USERS)) for word in others)


def is_street_name(name: str) -> bool:
    """Whether a property is the street or the whole address of someone; a town is neither."""
    words = split_words(name)
    is_street = begins_with(words, _STREETS) or any(word.endswith(("straße", "strasse")) for word in words)
    return is_street or bool({*words} & _STREETS_ALONE)


def is_postcode_name(name: str) -> bool:
    """Whether a property is a postcode."""
    return begins_with(split_words(name), _POSTCODES)


def is_personal(name: str) -> bool:
    """Whether a property is a credential or a way to reach a person, which says nothing about taste."""
    return any(word.startswith(_PERSONAL) for word in split_words(name))


def begins_with(words: Iterable[str], known: tuple[str, ...]) -> bool:
    """Whether one of the words begins with a known word; known words of up to three letters count as a whole only."""
    return any(word == one if len(one) <= 3 else word.startswith(one) for word in words for one in known)  # noqa: PLR2004


def is_category_name(name: str) -> bool:
    """Whether numbers called so are codes of categories, as of "occupation" or "brand_id"."""
    words = split_id(name)[0]
    return bool(words) and words[-1].startswith(_CATEGORIES)


def is_place_name(words: list[str]) -> bool:
    """Whether a name's last word is a usual one for places."""
    return bool(words) and bool(to_singulars(words[-1]) & {*_PLACES})


def leads_to_place(words: list[str]) -> bool:
    """Whether a relation leads to where people are, as "lives_in" and "from" do and "interested_in" does not."""
    return next((word for word in words if word != "is"), "") in _LIVES


def is_computed_name(name: str) -> bool:
    """Whether a number is called like one that is computed from interactions: an average rating, times sold, a rank."""
    words = {*split_words(name)}
    if words & _STATED:  # an age rating, the price of a purchase
        return False
    return is_popularity_name(name) or bool(words & _COUNTED) or bool(words & _COUNTS and words & _IF_COUNTED)


def is_stock_name(name: str) -> bool:
    """Whether a number is called like a quantity in stock or on order, which says nothing about taste."""
    words = split_words(name)
    return bool({*words} & {*_STOCKED}) or words[-2:] == ["on", "order"]


def is_popularity_name(name: str) -> bool:
    """Whether a name says that something is popular, of a value of any kind."""
    return begins_with(split_words(name), _POPULAR)


def is_sensitive_name(name: str) -> bool:
    """Whether a property of people describes what must not steer their recommendations, such as gender or religion."""
    words = split_words(name)
    return begins_with(words, _SENSITIVE) or bool({*words[:1]} & _SENSITIVE_FIRST) or {*words} <= _SENSITIVE_ALONE
