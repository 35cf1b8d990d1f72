"""A sample schema: one invoice as pydantic models.

Every field is required, also the ones that may be null: the model has to say "null" where the document is silent, so
that a forgotten field is told apart from one that is not there. The descriptions, the classes' docstrings among them,
are part of the JSON Schema and so of what the model reads.
"""

import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Currency = Literal[
    "AUD", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "INR", "JPY", "MYR", "NOK", "PLN", "SEK", "SGD", "USD"
]
"""The ISO 4217 codes that an invoice may be in."""


class Party(BaseModel):
    """A company or person that sells or buys."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Name as printed, with its legal form, without the address.")
    address: str | None = Field(
        description="Postal address on one line, its parts separated by commas; null if none is printed."
    )
    tax_id: str | None = Field(description="VAT or tax number as printed; null if none is printed.")


class LineItem(BaseModel):
    """One position: a good or a service that is charged for."""

    model_config = ConfigDict(extra="forbid")

    description: str = Field(description="What is charged for, without position number, quantity and prices.")
    quantity: float | None = Field(description="How many or how much, without the unit; null if not stated.")
    unit: str | None = Field(
        description="Unit of the quantity as printed, such as 'h', 'kg' or 'pcs'; null if none is printed."
    )
    unit_price: float | None = Field(description="Price of one unit; null if not stated.")
    amount: float | None = Field(description="Price of the whole position; null if not stated.")


class Invoice(BaseModel):
    """An invoice. Amounts are plain numbers with a decimal point: '1.234,56 EUR' is 1234.56."""

    model_config = ConfigDict(extra="forbid")

    invoice_number: str = Field(
        description="The invoice's own number as printed; not the order, customer or tax number."
    )
    seller: Party = Field(description="Who issued the invoice and is to be paid.")
    buyer: Party | None = Field(description="Who has to pay it ('bill to', not 'ship to'); null if nobody is named.")
    issue_date: datetime.date = Field(
        description="Date of the invoice as YYYY-MM-DD; not the order, delivery or print date."
    )
    due_date: datetime.date | None = Field(
        description="Last day for payment as YYYY-MM-DD; null if no day is printed, also where a period ('30 days') is."
    )
    currency: Currency | None = Field(
        description="ISO 4217 code, also where a symbol is printed (€ is EUR, £ GBP, RM MYR); null if none is stated."
    )
    line_items: list[LineItem] = Field(
        description="Positions in printed order; no subtotals, taxes, discounts, carried-forward sums or roundings; "
        "[] if there are none."
    )
    total_net: float | None = Field(description="Sum before tax; null if not printed.")
    total_tax: float | None = Field(description="All taxes together; null if none is printed.")
    total: float = Field(description="What has to be paid: tax included, after discounts and roundings.")
