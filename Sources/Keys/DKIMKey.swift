import Bus

/// A key that mail of a domain is signed with.
package struct DKIMKey: Equatable, Sendable {
    package let selector: String
    package let algorithm: SigningAlgorithm
    package let key: KeyName

    package init(selector: String, algorithm: SigningAlgorithm, key: KeyName) {
        self.selector = selector
        self.algorithm = algorithm
        self.key = key
    }

    /// As three fields of an answer.
    package var fields: [Frame.Field] {
        [.init("selector", selector), .init("algorithm", algorithm.rawValue), .init("key", key.description)]
    }

    /// The keys in an answer, in its order; nil where it's malformed.
    package static func all(in frame: Frame) -> [DKIMKey]? {
        let (selectors, algorithms, keys) = (frame.all("selector"), frame.all("algorithm"), frame.all("key"))
        guard selectors.count == algorithms.count, selectors.count == keys.count else { return nil }
        var found: [DKIMKey] = []
        for (index, selector) in selectors.enumerated() {
            guard let algorithm = SigningAlgorithm(rawValue: algorithms[index]), let key = KeyName(keys[index]) else {
                return nil
            }
            found.append(DKIMKey(selector: selector, algorithm: algorithm, key: key))
        }
        return found
    }
}
