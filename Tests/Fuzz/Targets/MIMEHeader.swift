import MIME

/// A header, and its fields read as each kind of structured field.
let mimeHeaderTarget = FuzzTarget("mime-header") { input in
    let block = HeaderBlock(Array(input))
    var end = 0
    for field in block.fields {
        demand(field.whole.lowerBound >= end && field.whole.upperBound <= input.count, "fields overlap")
        demand(field.name.lowerBound >= field.whole.lowerBound, "a name is outside its field")
        demand(field.value.upperBound <= field.whole.upperBound, "a value is outside its field")
        end = field.whole.upperBound
        let value = block.value(of: field)
        _ = ParameterizedValue(field: value)
        _ = AddressListParser.parse(value)
        _ = EncodedWords.decode(value)
        _ = DateTime(field: value)
        demand(MessageIdentifiers.list(value, maximum: 3).count <= 3, "too many identifiers")
    }
    let content = ContentFields(block)
    demand(!content.type.value.isEmpty && content.disposition?.value.isEmpty != true, "a field has no value")
}
