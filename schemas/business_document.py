"""A sample schema: an invoice, a receipt or a contract, told apart by ``kind``.

One schema for a mixed folder, used by ``make demo``. ``kind``, ``issuer`` and ``date`` may not be null: a document that
lacks one of them cannot be extracted and ends as a dead letter. The other fields may be null or empty; none may be
left out.
"""

import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class LineItem(BaseModel):
    """One position: a good or a service that is charged for."""

    model_config = ConfigDict(extra="forbid")

    description: str = Field(description="What is charged for, without position number, quantity and prices.")
    quantity: float | None = Field(description="How many or how much, without the unit; null if not stated.")
    unit_price: float | None = Field(description="Price of one unit; null if not stated.")
    amount: float | None = Field(description="Price of the whole position; null if not stated.")


class BusinessDocument(BaseModel):
    """An invoice, a receipt or a contract. Amounts are numbers with a decimal point: '1.234,56 EUR' is 1234.56."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["invoice", "receipt", "contract"] = Field(
        description="'invoice' asks for a payment, 'receipt' confirms one, 'contract' is an agreement between parties."
    )
    number: str | None = Field(
        description="The document's own number as printed; not an order, customer or tax number; null if it has none."
    )
    issuer: str = Field(
        description="Name, without address, of an invoice's seller, a receipt's shop, a contract's first party."
    )
    counterparty: str | None = Field(
        description="Name of an invoice's or receipt's buyer, of a contract's second party; null if nobody is named."
    )
    date: datetime.date = Field(
        description="YYYY-MM-DD: an invoice's issue date, a receipt's date of purchase, the date a contract was made."
    )
    currency: Literal["EUR", "USD", "GBP", "MYR", "CHF"] | None = Field(
        description="ISO 4217 code, also where a symbol is printed (€ is EUR, £ GBP, RM MYR); null if none or another."
    )
    total: float | None = Field(
        description="What is or was to be paid: tax included, after discounts and roundings, not the cash handed over; "
        "for a contract its whole price, not a rent or fee per month; null if not stated."
    )
    line_items: list[LineItem] = Field(
        description="Positions in printed order; no subtotals, taxes, discounts, carried-forward sums or roundings; "
        "[] if there are none."
    )
