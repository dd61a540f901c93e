import Algorithms

extension Array {
    /// The place of the last element of a sorted array that isn't behind what is looked for; -1 where all are.
    package func lastPlace(_ isBehind: (Element) -> Bool) -> Int { partitioningIndex(where: isBehind) - 1 }
}
