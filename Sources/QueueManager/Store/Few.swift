/// Elements of which there is mostly one, which then stands where an array would only be pointed to.
enum Few<Element> {
    case none
    case one(Element)
    case many([Element])

    init(_ elements: [Element]) {
        guard let first = elements.first else {
            self = .none
            return
        }
        self = elements.count == 1 ? .one(first) : .many(elements)
    }

    mutating func append(_ element: Element) {
        switch self {
        case .none: self = .one(element)
        case .one(let first): self = .many([first, element])
        case .many(var elements):
            // So that it isn't copied.
            self = .none
            elements.append(element)
            self = .many(elements)
        }
    }

    mutating func removeAll(where isMeant: (Element) -> Bool) {
        guard contains(where: isMeant) else { return }
        self = Few(filter { !isMeant($0) })
    }
}

extension Few: RandomAccessCollection {
    var startIndex: Int { 0 }

    var endIndex: Int {
        switch self {
        case .none: 0
        case .one: 1
        case .many(let elements): elements.count
        }
    }

    subscript(index: Int) -> Element {
        switch self {
        case .one(let element) where index == 0: element
        case .many(let elements): elements[index]
        case .none, .one: preconditionFailure("no element \(index)")
        }
    }
}

extension Few: ExpressibleByArrayLiteral {
    init(arrayLiteral elements: Element...) { self.init(elements) }
}
