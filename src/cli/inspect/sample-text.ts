/** What two bases are compared on where no text is given: prose, a dialogue, figures and code, as models meet them. */
export const SAMPLE_TEXT = `The harbour lies on the north side of the island, where the cliffs are low enough for a road. In
summer two boats a day bring visitors from the mainland; in winter there is one a week, if the wind allows it. Most people
who live here fish or keep sheep, and nearly all of them have a second trade: the postman repairs engines, and the teacher
writes the tide tables that hang in every kitchen. When the lighthouse was made automatic in 1984, the last keeper stayed.
He said that he had watched the sea for thirty years and did not see why he should stop because nobody paid him.

A contract is an agreement that the law will enforce. It needs an offer, an acceptance of that offer, and something of
value that passes between the parties. If one of them does not do what was promised, the other may ask a court for damages,
which are meant to put the injured party in the position in which it would have been had the contract been performed.

"Can you tell me which train goes to the coast?" she asked.
"The one on platform four, but it leaves at ten past nine, and it is eight past now."
"Then I had better run."

Water boils at 100 degrees Celsius at sea level and at about 93 degrees at a height of 2,000 metres, since the pressure of
the air is lower there. To convert a temperature from Celsius to Fahrenheit, multiply it by 9/5 and add 32.

def mean(values):
    """The arithmetic mean of a list that is not empty."""
    total = 0.0
    for value in values:
        total += value
    return total / len(values)

The patient was given 250 mg of the antibiotic three times a day for a week. The fever fell within two days, and the cough
had gone by the end of the treatment. No side effects were reported, apart from a slight headache on the first evening.
`;
