"""Names, places and sentences of the sample contact centre, in the languages of its customers.

Everything here is invented; addresses of e-mail end in the domains that RFC 2606 reserves for examples.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Locale:
    """What customers of one country are called, where they live and how their notes are worded.

    `notes` and `card_notes` are format strings: `{name}` is the customer's name, `{text}` what is hidden.
    """

    country: str  # ISO 3166-1 alpha-2
    dial: str  # country code of telephone numbers, without the plus sign
    mobile: str  # first digits of a mobile number
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    streets: tuple[str, ...]
    cities: tuple[str, ...]
    notes: tuple[str, ...]
    card_notes: tuple[str, ...]
    code_notes: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


_GERMAN_NOTES = (
    "Rückruf vereinbart, {name} ist ab 17 Uhr erreichbar.",
    "Kunde fragt nach der Rechnung vom Vormonat; Kopie per E-Mail geschickt.",
    "Störung im Anschluss gemeldet, Techniker für Dienstag gebucht.",
    "{name} möchte den Tarif wechseln. Angebot bis Monatsende gültig.",
    "Beschwerde über lange Wartezeit aufgenommen und an die Teamleitung gegeben.",
    "Adresse geändert, Bestätigung verschickt.",
    "Kündigung zurückgenommen, Gutschrift von 20 EUR zugesagt.",
    "Identität geprüft, Vertrag verlängert.\nNächster Kontakt in sechs Monaten.",
)
_ENGLISH_NOTES = (
    "Called back twice, no answer. {name} prefers e-mail.",
    "Asked about the bill of last month; sent a copy by e-mail.",
    "Line fault reported, engineer booked for Tuesday morning.",
    "{name} would like to change tariff. Offer stands until the end of the month.",
    "Complaint about waiting time taken, passed on to the team lead.",
    "Address changed, confirmation sent.",
    "Cancellation withdrawn after a credit of 20 pounds.",
    "Identity checked, contract extended.\nNext contact in six months.",
)
_FRENCH_NOTES = (
    "Rappel convenu, {name} est joignable après 17 h.",
    "Le client demande la facture du mois dernier ; copie envoyée par courriel.",
    "Panne de ligne signalée, technicien prévu mardi.",
    "{name} souhaite changer de forfait. Offre valable jusqu'à la fin du mois.",
    "Réclamation sur le temps d'attente transmise au responsable.",
    "Adresse modifiée, confirmation envoyée.",
    "Résiliation annulée, avoir de 20 EUR accordé.",
    "Identité vérifiée, contrat prolongé.\nProchain contact dans six mois.",
)
_SPANISH_NOTES = (
    "Se acuerda devolver la llamada; {name} está disponible a partir de las 17 h.",
    "Pregunta por la factura del mes pasado; copia enviada por correo.",
    "Avería en la línea, técnico citado para el martes.",
    "{name} quiere cambiar de tarifa. Oferta válida hasta fin de mes.",
    "Queja por el tiempo de espera, pasada al responsable.",
    "Dirección cambiada, confirmación enviada.",
    "Baja anulada, abono de 20 EUR concedido.",
    "Identidad comprobada, contrato prorrogado.\nPróximo contacto en seis meses.",
)
_DUTCH_NOTES = (
    "Terugbelafspraak gemaakt, {name} is na 17 uur bereikbaar.",
    "Klant vraagt naar de factuur van vorige maand; kopie gemaild.",
    "Storing gemeld, monteur komt dinsdag.",
    "{name} wil van abonnement wisselen. Aanbod geldig tot einde maand.",
    "Klacht over wachttijd doorgegeven aan de teamleider.",
    "Adres gewijzigd, bevestiging verstuurd.",
    "Opzegging ingetrokken, tegoed van 20 EUR toegezegd.",
    "Identiteit gecontroleerd, contract verlengd.\nVolgend contact over zes maanden.",
)

LOCALES: tuple[Locale, ...] = (
    Locale(
        country="DE",
        dial="49",
        mobile="1523",
        first_names=_words(
            "Anna, Jonas, Mia, Lukas, Lena, Felix, Marie, Paul, Jürgen, Sabine, Heike, Uwe, Aylin, Emre"
        ),
        last_names=_words(
            "Müller, Schmidt, Weber, Wagner, Becker, Schäfer, Koch, Krüger, Yılmaz, Böhm, Voß, Lindner"  # noqa: RUF001 - a Turkish name
        ),
        streets=_words("Hauptstraße, Gartenweg, Bahnhofstraße, Lindenallee, Am Markt, Schillerstraße"),
        cities=_words("Köln, Leipzig, Hamburg, Nürnberg, Kassel, Rostock"),
        notes=_GERMAN_NOTES,
        card_notes=(
            "Zahlung mit Kreditkarte {text} telefonisch durchgegeben.",
            "Neue Karte: {text}, bitte hinterlegen.",
        ),
        code_notes=(" Prüfziffer CVC {text}.", " CVV: {text}"),
    ),
    Locale(
        country="GB",
        dial="44",
        mobile="7700",
        first_names=_words(
            "Olivia, George, Amelia, Harry, Priya, Mohammed, Siân, Callum, Grace, Oscar, Niamh, Tariq"
        ),
        last_names=_words(
            "Smith, Jones, Patel, Taylor, Evans, O'Connor, Khan, Walker, Hughes, Edwards, MacLeod"
        ),
        streets=_words("High Street, Church Lane, Station Road, Mill Close, Victoria Avenue"),
        cities=_words("Leeds, Cardiff, Bristol, Glasgow, Norwich"),
        notes=_ENGLISH_NOTES,
        card_notes=(
            "Took payment on card {text}.",
            "Customer read out visa number {text}, asked to keep it on file.",
        ),
        code_notes=(" Security code {text}.", " cvv {text}"),
    ),
    Locale(
        country="FR",
        dial="33",
        mobile="639",
        first_names=_words(
            "Camille, Hugo, Chloé, Léo, Zoé, Théo, Inès, François, Élodie, Mehdi, Anaïs, Gaël"
        ),
        last_names=_words(
            "Martin, Bernard, Lefèvre, Moreau, Garnier, Benali, Girard, D'Angelo, Rousseau, Noël"
        ),
        streets=_words("rue de la Paix, avenue des Tilleuls, rue Pasteur, place du Marché"),
        cities=_words("Lyon, Nantes, Orléans, Besançon, Lille"),
        notes=_FRENCH_NOTES,
        card_notes=(
            "Paiement par carte {text} au téléphone.",
            "Nouvelle carte bancaire {text} à enregistrer.",
        ),
        code_notes=(" Cryptogramme CVV {text}.", " CVC {text}"),
    ),
    Locale(
        country="ES",
        dial="34",
        mobile="612",
        first_names=_words("Lucía, Hugo, Sofía, Martín, Paula, Álvaro, Núria, Íñigo, Carmen, Joaquín"),
        last_names=_words("García, Fernández, López, Martínez, Muñoz, Castaño, Ibáñez, Peña, Ruiz"),
        streets=_words("calle Mayor, avenida de la Constitución, calle del Sol, paseo Marítimo"),
        cities=_words("Sevilla, Málaga, Logroño, A Coruña, Valencia"),
        notes=_SPANISH_NOTES,
        card_notes=(
            "Pago con tarjeta de crédito (card) {text} por teléfono.",
            "Tarjeta visa {text} dictada por el cliente.",
        ),
        code_notes=(" CVV {text}.", " Código CVC {text}"),
    ),
    Locale(
        country="NL",
        dial="31",
        mobile="612",
        first_names=_words("Emma, Daan, Sanne, Bram, Lotte, Sjoerd, Fleur, Jeroen, Noa, Youssef"),
        last_names=_words("de Jong, Jansen, van den Berg, Bakker, Visser, Smit, Mulder, Özdemir, Dijkstra"),
        streets=_words("Kerkstraat, Dorpsstraat, Molenweg, Wilhelminalaan"),
        cities=_words("Utrecht, Groningen, Zwolle, Breda"),
        notes=_DUTCH_NOTES,
        card_notes=("Betaling met creditcard {text} telefonisch.", "Nieuwe kaart (card) {text} doorgegeven."),
        code_notes=(" CVC-code {text}.", " cvv {text}"),
    ),
)
LOCALE_SHARES = (0.40, 0.22, 0.16, 0.12, 0.10)

TOPICS = (
    "billing question",
    "line fault",
    "change of tariff",
    "complaint",
    "move of house",
    "cancellation",
    "order",
)
QUEUES = ("service", "billing", "sales", "complaints", "technical")
CHANNELS = ("phone", "chat", "email")
