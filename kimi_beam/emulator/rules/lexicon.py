"""Words of business documents: which labels mean the same thing, and what kind of value stands behind them.

A concept is an entry of the tables below: phrases that a document may print as a label, or a schema may use as a
property's name, the most usual first. What stands after a bar is looked for in documents but names no property:
"To" may announce a buyer, and a property ``to`` may be anything. English mostly, with ordinary German and French
labels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "text", "party", "address", "identifier", "date", "amount", "currency", "email", "url", "phone", "percent"
]


@dataclass(frozen=True)
class Concept:
    """One thing that documents name in many ways.

    Attributes:
        name: Its first phrase.
        kind: What kind of value it has.
        phrases: The phrases of documents, the most usual first.
        names: How many of them, from the first, may also name a property.
    """

    name: str
    kind: Kind
    phrases: tuple[str, ...]
    names: int


_TABLE: Final[dict[Kind, str]] = {
    "party": """
        company, company name, vendor, vendor name, seller, seller name, supplier, supplier name, merchant, merchant
            name, issuer, issued by, store, store name, shop, sold by, retailer, business name, provider, service
            provider, firma, verkäufer, lieferant, rechnungssteller, händler, vendeur, fournisseur, émetteur, société,
            magasin | name of supplier, name of seller, supplied by, licensor, landlord, lessor, lender, employer,
            auftragnehmer, auftragnehmerin, vermieter, prestataire, bailleur, from, von, de;
        buyer, buyer name, customer, customer name, client, client name, bill to, billed to, sold to, invoice to,
            invoiced to, recipient, purchaser, käufer, kunde, rechnungsempfänger, leistungsempfänger, auftraggeber,
            acheteur, facturé à, destinataire, counterparty, counter party, other party, second party
            | name of customer, name of buyer, licensee, tenant, lessee, borrower, mieter, auftraggeberin, kundin,
            locataire, employee, guest, guest name, passenger, patient, member name, received from,
            received with thanks from, cliente,
            kund, klant, account name, to, for, an, à, pour, account;
        ship to, deliver to, delivery to, consignee, warenempfänger, lieferanschrift, livré à;
        landlord, lessor, vermieter, bailleur;
        tenant, lessee, mieter, locataire;
        employer, arbeitgeber, employeur;
        employee, arbeitnehmer, employé;
        cashier, operator, served by, staff, kassierer, caissier;
        salesperson, sales person, sales rep, agent;
        contact, contact person, attention, attn, ansprechpartner, interlocuteur;
        bank, bank name, banque;
        account holder, beneficiary, kontoinhaber, titulaire;
        sender, from, absender, expéditeur;
        author, written by, prepared by, autor, auteur;
    """,
    "address": """
        address, company address, vendor address, seller address, supplier address, merchant address, store address,
            anschrift, adresse;
        billing address, bill to address, customer address, buyer address, rechnungsadresse, adresse de facturation;
        shipping address, ship to address, delivery address, lieferadresse, adresse de livraison;
    """,
    "identifier": """
        invoice number, invoice id, invoice, tax invoice number, bill number, inv number, rechnungsnummer, rechnung
            nr, rechnung, rechnungs nr, handelsrechnung nr, numéro de facture, facture n°, facture;
        document number, doc number, document id, number, own number | invoice number, receipt number, contract number,
            agreement number, bill number, contract id, invoice id, rechnungsnummer, belegnummer, vertragsnummer,
            quittungsnummer, numéro de facture, facture n°, reçu n°, contrat n°, ticket n°, fakturanummer,
            factuurnummer, rechnung nr, beleg nr, bon nr, quittung nr, inv number, bill id, agreement reference,
            contract reference, note d'honoraires n°, tax invoice number, invoice, receipt, rechnung, quittung,
            facture, ticket, bill, bon,
            agreement, contract, faktura, factuur, fattura, reçu, recu, resit, billett, check, our reference, reference,
            ref;
        receipt number, receipt, document, bill, transaction number, transaction id,
            belegnummer, beleg nr, bon nr;
        order number, order id, order, purchase order, purchase order number, po number, po, bestellnummer, bestell
            nr, auftragsnummer, commande, numéro de commande;
        customer number, customer id, client number, account number, kundennummer, kunden nr, numéro client;
        reference, reference number, ref number, ref, our reference, your reference, referenz, référence;
        contract number, contract id, agreement number, vertragsnummer, contrat n°;
        vat id, vat number, vat registration number, gst id, gst number, gst reg number, gst registration number,
            ust idnr, ust id nr, umsatzsteuer id, n° tva, tva intracommunautaire;
        tax number, tax id, tin, steuernummer, steuer nr, numéro fiscal;
        registration number, company number, company registration number, co reg, reg number, handelsregisternummer,
            siren, siret;
        iban;
        bic, swift, swift code;
        sku, item code, article number, part number, product code, artikelnummer, art nr, code article;
        postcode, postal code, zip, zip code, plz, postleitzahl, code postal;
        tracking number, shipment number, sendungsnummer;
        policy number, claim number, police nr;
        table, table number, tisch;
    """,
    "date": """
        date, invoice date, issue date, date of issue, issued on, issued, document date, bill date, receipt date,
            order date, transaction date, dated, rechnungsdatum, belegdatum, ausstellungsdatum, datum, vom, date de
            facture, date d'émission | date of purchase, date of payment, payment date, paid on, bezahlt, made on,
            date of agreement, agreement date, contract date, signed on, vertragsdatum, fakturadatum, factuurdatum,
            data, tarikh;
        due date, payment due date, payment due, due by, due on, pay by, due, fällig, fällig am, fälligkeitsdatum,
            fälligkeit, zahlbar bis, échéance, date d'échéance;
        effective date, effective as of, effective from, effective, commencement date, start date, starting date,
            begins on, as of, vertragsbeginn, gültig ab, date d'effet;
        expiration date, expiry date, expires on, expires, expiry, end date, valid until, valid to, termination
            date, vertragsende, gültig bis, date de fin;
        agreement date, contract date, date of agreement, entered into as of, made as of, dated as of, signed on,
            signature date, vertragsdatum;
        delivery date, date of delivery, delivered on, ship date, shipping date, service date, lieferdatum,
            leistungsdatum, date de livraison;
        date of birth, birth date, born, geburtsdatum, date de naissance;
        arrival, arrival date, check in, check in date, anreise;
        departure, departure date, check out, check out date, abreise;
    """,
    "amount": """
        total, grand total, amount due, total due, balance due, total amount due, total amount, invoice total, total
            gross, gross total, gross amount, total payable, amount payable, net payable, total to pay, amount,
            gesamtbetrag, gesamtsumme, endbetrag, rechnungsbetrag, zahlbetrag, bruttosumme, bruttobetrag,
            bruttogesamtbetrag, zu zahlen, summe, total ttc, montant total, montant ttc, net à payer;
        subtotal, sub total, net total, total net, net amount, total excluding tax, total before tax, taxable
            amount, total excl gst, nettobetrag, nettosumme, zwischensumme, summe netto, gesamt netto, rechnungssumme
            ohne ust, total ht, montant ht, sous total;
        tax, vat, gst, sales tax, tax amount, total tax, vat amount, total vat, gst amount, total gst, mwst, ust,
            umsatzsteuer, mehrwertsteuer, mwst betrag, steuerbetrag, tva, montant tva, total tva;
        discount, total discount, rebate, disc, rabatt, nachlass, remise;
        shipping, shipping cost, shipping fee, delivery fee, freight, postage, versand, versandkosten, frais de
            port, livraison;
        tip, gratuity, trinkgeld, pourboire;
        service charge, service fee, servicegebühr;
        rounding, rounding adjustment, round adj, rundung, arrondi;
        cash, cash paid, cash tendered, tendered, paid, amount paid, bar, espèces;
        change, change due, rückgeld, rendu;
        deposit, down payment, anzahlung, acompte;
        quantity, qty, menge, anzahl, quantité, qté | how many, hours, hrs, units, pcs, count, stück, stunden, heures,
            nights, antal, aantal, q.tà, quantità;
        unit price, price, rate, u/p, unit cost, price each, einzelpreis, stückpreis, preis, nettopreis, prix
            unitaire, prix, p.u. | each, per unit, à pris, prezzo, prijs, stundensatz;
        line total, total price, line amount, amount, total, gesamtpreis, positionsbetrag, betrag, montant, entgelt
            | sum, amt, summe, gesamt, belopp, importo, bedrag;
        rent, monthly rent, miete, loyer;
        salary, annual salary, base salary, gehalt, salaire;
        balance, opening balance, closing balance, saldo, solde;
    """,
    "percent": """
        tax rate, vat rate, gst rate, steuersatz, ust %, mwst satz, taux tva;
        interest rate, zinssatz, taux d'intérêt;
    """,
    "currency": "currency, currency code, währung, rechnungswährung, devise, monnaie",
    "email": "email, e mail, email address, e mail address, contact email, mail, courriel",
    "url": "website, web site, web, url, homepage, internet, site web",
    "phone": """
        phone, phone number, telephone, telephone number, tel, tel number, contact number, telefon, téléphone;
        fax, fax number, telefax;
        mobile, mobile number, handy, whatsapp;
    """,
    "text": """
        description, item, item name, product, product name, article, particulars, details, service, beschreibung,
            bezeichnung, artikel, artikelbezeichnung, leistung, désignation, libellé
            | work, what, goods, task, activity, benämning, omschrijving, descrizione;
        name, full name, nom;
        title, document title, subject, titel, betreff, objet;
        country, land, pays;
        city, town, ort, stadt, ville;
        street, street address, straße, strasse, rue;
        state, province, bundesland;
        governing law, applicable law, anwendbares recht, droit applicable;
        term, initial term, duration, term of agreement, laufzeit, durée;
        parties, between, vertragsparteien;
        payment terms, terms, terms of payment, zahlungsbedingungen, conditions de paiement;
        payment method, paid by, payment type, method of payment, zahlungsart, zahlungsweise, mode de paiement;
        unit, uom, einheit, unité;
        notes, note, remarks, comment, comments, bemerkung, bemerkungen, remarque;
        position, role, job title, function;
        time, uhrzeit, heure;
    """,
}
NUMBER_WORDS: Final = ("number", "num", "nummer", "numéro", "no", "nr", "nº", "n°", "#")
EVERYDAY: Final = frozenset({"to", "for", "an", "à", "pour", "from", "von", "de", "account", "what", "sum", "data"})
_ANNOUNCED = r"(?=[ ]?:|[ ]*(?:\n|$)|[ ]{2}|\t)"  # after a word that is a label only if something says so
_NUMBER = "(?:number|num|nummer|numéro|no|nr|nº|n°|#)"
_CAMEL = re.compile(r"(?<=[a-zß-ÿ0-9])(?=[A-ZÀ-Þ])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W_]+|[#°%]")


def words(name: str) -> tuple[str, ...]:
    """Split a property's name or a label into lower-case words: ``invoiceNo`` and ``INVOICE_NO.`` are the same two."""
    return tuple(_WORD.findall(_CAMEL.sub(" ", name).lower()))


def word_set(text: str) -> frozenset[str]:
    """Return the words of a list that is written as text."""
    return frozenset(text.split())


def _read_table() -> tuple[Concept, ...]:
    concepts = []
    for kind, table in _TABLE.items():
        for entry in filter(None, map(str.strip, table.split(";"))):
            naming, _, others = entry.partition("|")
            phrases = [" ".join(phrase.split()) for phrase in naming.split(",")]
            more = [" ".join(phrase.split()) for phrase in others.split(",") if phrase.strip()]
            concepts.append(Concept(phrases[0], kind, (*phrases, *more), len(phrases)))
    return tuple(concepts)


def unified(phrase: tuple[str, ...]) -> tuple[str, ...]:
    """Make the spellings of ``number`` one word."""
    return tuple("number" if word in NUMBER_WORDS else word for word in phrase)


CONCEPTS: Final = _read_table()
_BY_PHRASE: Final[dict[tuple[str, ...], Concept]] = {}
for _concept in CONCEPTS:
    for _phrase in _concept.phrases[: _concept.names]:
        _BY_PHRASE.setdefault(unified(words(_phrase)), _concept)


def concept_named(name: tuple[str, ...]) -> Concept | None:
    """Return the concept a property's words name, None when no phrase is it."""
    return _BY_PHRASE.get(unified(name))


def concept_within(name: tuple[str, ...]) -> Concept | None:
    """Return the concept of the longest phrase that ends or begins the words; the end says more."""
    name = unified(name)
    for length in range(len(name) - 1, 0, -1):
        concept = _BY_PHRASE.get(name[-length:]) or _BY_PHRASE.get(name[:length])
        if concept is not None:
            return concept
    return None


def phrase_pattern(phrase: str) -> str:
    """Return a regular expression for a phrase in lower case, lax about spaces, dots and how ``number`` is written."""
    parts = [_NUMBER if word in NUMBER_WORDS else re.escape(word) for word in words(phrase)]
    return r"[ ._'/&-]{0,2}".join(parts) + (_ANNOUNCED if phrase in EVERYDAY else "")
