extension Array {
    /// The place of the last element of a sorted array that isn't behind what is looked for; -1 where all are.
    func lastPlace(_ isBehind: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low - 1
    }
}
